"""Networks that each train on a shard of the data, slice by slice, and again from before a slice if they have to.

What exact unlearning by partition is made of: one module holds the networks, one loop trains them, a shard after the
other in each epoch, and what each was before a slice is kept beside the original.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import replace

from core import models
from core.data import Batch, Images, Transform, batches
from core.lazy import Tensor, nn, no_grad, torch
from core.train import EpochFacts, TrainParams, cross_entropy, fit
from core.unlearn.base import Problem
from core.unlearn.fresh import start_
from core.unlearn.hooks import Part, Setting, Training
from core.unlearn.parameters import moved_parameters

SHARD, SLICE, PARAMS, SEED, BEFORE = "shard", "slice", "params", "seed", "before."
FACTS = ("affected_shards", "first_slice", "networks", "retrained_share")
Table = tuple[Tensor, Tensor]  # shard and slice of each image, int64 on the CPU; slice -1: it takes no part


def slice_epochs(epochs: int, slices: int) -> list[int]:
    """Epochs on each slice and those before it, so that all together cost about as much as E without slices.

    e_r = ⌊(r + 1) a⌋ - ⌊r a⌋ with a = 2E / (R + 1), r from 0.
    """
    bounds = [2 * epochs * r // (slices + 1) for r in range(slices + 1)]
    return [high - low for low, high in itertools.pairwise(bounds)]


class Shards:
    """The training of networks on shards, or what is left of it.

    images: those that take part, with their shard_N and slice_N, in the order of the whole training.
    Every draw follows from the seed, the shard and the epoch, so that it is the same whatever else trains beside.
    """

    def __init__(
        self, model: nn.Module, images: Images, table: tuple[Tensor, Tensor], augment: Transform, seed: int,
        params: TrainParams, slices: int,
    ) -> None:  # fmt: skip
        self.model, self.images, self.augment, self.seed, self.params = model, images, augment, seed, params
        self.networks = models.members(model)
        self.shard_N, self.slice_N = table
        counts = slice_epochs(params.epochs, slices)
        self.starts = [sum(counts[:r]) for r in range(slices)]
        self.epochs = sum(counts)

    def slice_of(self, epoch: int) -> int:
        """The last slice that an epoch takes in."""
        return max(r for r, start in enumerate(self.starts) if start <= epoch)

    def learned(self, shard: int, last: int) -> Images:
        """The images of a shard up to a slice."""
        taken_N = (self.shard_N == shard) & (self.slice_N >= 0) & (self.slice_N <= last)
        return self.images.select(taken_N.nonzero()[:, 0])

    def first_slice(self, shard: int) -> int | None:
        """The first slice up to which a shard has two images, as batch statistics need; None if it never has."""
        slices = range(len(self.starts))
        return next((r for r in slices if len(self.learned(shard, r)) > 1), None)

    def loss(self, logits_BK: Tensor, batch: Batch) -> Tensor:
        """Of a batch, all of one shard."""
        return cross_entropy(logits_BK, batch)

    def prepare(self, shard: int, *, pretrained: bool = False) -> None:
        """Starts a shard's network, calibrated on images of its own first slice."""
        first = self.first_slice(shard)
        assert first is not None
        own = self.draws(shard, -1)
        images = self.learned(shard, first)
        start_(self.networks[shard], images, self.augment, self.params.batch_size, own, pretrained=pretrained)

    def epoch(self, epoch: int, since: Mapping[int, int]) -> Iterator[Batch]:
        """The batches of an epoch, of one shard after the other. since: the epoch from which on each shard trains."""
        for shard in (each for each, start in since.items() if start <= epoch):
            images = self.learned(shard, self.slice_of(epoch))
            if len(images) < 2:
                continue
            models.activate_(self.model, shard)
            own = self.draws(shard, epoch)
            torch.manual_seed(own.initial_seed())  # of dropout; inside the loop's own state of random numbers
            yield from batches(images, self.params.batch_size, self.augment, own)
        models.activate_(self.model, None)

    def draws(self, shard: int, epoch: int) -> torch.Generator:
        """A CPU generator of a shard's epoch."""
        digest = hashlib.sha256(f"{self.seed}/{shard}/{epoch}".encode()).digest()
        return torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))


class Dealt(Part):
    """The shards' part in the original's training; a method says who is dealt where."""

    kind: type[Shards] = Shards

    def __init__(self, training: Training, setting: Setting, table: Table, slices: int) -> None:
        super().__init__(training)
        self.setting, self.table, self.slices = setting, table, slices
        self.shards: Shards  # once it is known how they train
        self.before: dict[str, Tensor] = {}
        self.optimizer: torch.optim.SGD | None = None

    def prepare(self, generator: torch.Generator, pretrained: bool) -> None:  # noqa: ARG002
        """Each network by itself, on draws of its own."""
        if pretrained:
            self.before |= _state(self.shards.networks, 0)
        for shard in range(len(self.shards.networks)):
            self.shards.prepare(shard, pretrained=pretrained)

    def planned(self, params: TrainParams) -> TrainParams:
        """As many epochs as all slices take together."""
        t = self.training
        self.shards = self.kind(t.model, t.images, self.table, t.augment, t.seed, params, self.slices)
        return params.model_copy(update={"epochs": self.shards.epochs})

    def on_optimizer(self, optimizer: torch.optim.SGD) -> None:
        """Its momentum ends with a slice."""
        self.optimizer = optimizer

    def batches(self, epoch: int, generator: torch.Generator) -> Iterator[Batch]:  # noqa: ARG002
        """One shard's after the other's; before a new slice each network's state is kept."""
        for slice_ in (r for r, start in enumerate(self.shards.starts) if r and start == epoch):
            self.before |= _state(self.shards.networks, slice_)
            forget_momentum(self.optimizer)
        yield from self.shards.epoch(epoch, dict.fromkeys(range(len(self.shards.networks)), 0))

    def loss(self, logits_BK: Tensor, batch: Batch) -> Tensor:
        """As the networks are trained."""
        return self.shards.loss(logits_BK, batch)

    def kept(self) -> dict[str, Tensor]:
        """Which image is where, how the networks were trained, and what they were before each slice but the first."""
        said = self.shards.params.model_dump_json().encode()
        found = {SHARD: self.table[0], SLICE: self.table[1], SEED: torch.tensor(self.training.seed)}
        return found | {PARAMS: torch.frombuffer(bytearray(said), dtype=torch.uint8)} | self.before

    def remembered(self) -> dict[str, Tensor]:
        """The states kept so far."""
        return self.before

    def recall(self, tensors: dict[str, Tensor]) -> None:
        """Takes them back."""
        device = self.training.images.pixels.device
        self.before = {name: t.to(device) for name, t in tensors.items()}


def _state(networks: list[nn.Module], slice_: int) -> dict[str, Tensor]:
    """A copy of what each network is before a slice."""
    return {
        f"{BEFORE}{shard}.{slice_}.{name}": t.detach().clone()
        for shard, network in enumerate(networks)
        for name, t in network.state_dict().items()
    }


def forget_momentum(optimizer: torch.optim.SGD | None) -> None:
    """As a new optimizer would begin, which the published code makes for each slice: a state is weights alone."""
    assert optimizer is not None
    optimizer.state.clear()


def what_is_left(problem: Problem, model: nn.Module, slices: int, kind: type[Shards] = Shards) -> Shards:
    """The training of the shards on the retained images that the original saw, in their order there."""
    kept = problem.kept
    _, retain_at = problem.trained_at()
    seen = (retain_at >= 0).nonzero()[:, 0]
    seen = seen[retain_at[seen].argsort()]
    table = kept[SHARD].cpu()[retain_at[seen]], kept[SLICE].cpu()[retain_at[seen]]
    trained = TrainParams.model_validate_json(bytes(kept[PARAMS].tolist()), strict=False)
    images = problem.retain.select(seen)
    return kind(model, images, table, problem.augment, int(kept[SEED]), trained, slices)


def affected_shards(problem: Problem, shards: Shards) -> dict[int, int]:
    """The first slice with an image to forget, by shard whose network saw any."""
    forget_at, _ = problem.trained_at()
    forget_at = forget_at[forget_at >= 0]
    shard_M, slice_M = (problem.kept[name].cpu()[forget_at] for name in (SHARD, SLICE))
    shard_M, slice_M = shard_M[slice_M >= 0], slice_M[slice_M >= 0]
    first = {shard: int(slice_M[shard_M == shard].min()) for shard in sorted(set(shard_M.tolist()))}
    # of very few epochs none may be left for the last slices
    return {shard: slice_ for shard, slice_ in first.items() if shards.starts[slice_] < shards.epochs}


def restart_(shards: Shards, affected: Mapping[int, int], problem: Problem) -> dict[int, int]:
    """Puts affected networks back, in place; returns the epoch from which each trains.

    A network that nothing is left to train on loses its vote and what it knew, and is not among them.
    """
    since = {}
    for shard, slice_ in affected.items():
        first = shards.first_slice(shard)
        if first is None:
            shards.model.get_buffer("voting")[shard] = False
            erase_(shards.networks[shard])
            continue
        prefix = f"{BEFORE}{shard}.{slice_}."
        state = {n.removeprefix(prefix): t for n, t in problem.kept.items() if n.startswith(prefix)}
        if state:
            shards.networks[shard].load_state_dict(state)
        if slice_ == 0:  # there is a state of weights from a file alone
            shards.prepare(shard, pretrained=bool(state))
        since[shard] = shards.starts[max(slice_, first)]
    return since


@no_grad
def erase_(network: nn.Module) -> None:
    """Zeroes a network's weights in place; its quantizers stay valid."""
    for parameter in moved_parameters(network, move_quantizers=False).values():
        parameter.zero_()


def go_on_(shards: Shards, since: Mapping[int, int], generator: torch.Generator, problem: Problem) -> None:
    """Trains the networks to the end, in place."""
    optimizers: list[torch.optim.SGD] = []

    def passes(epoch: int) -> Iterator[Batch]:
        if epoch in shards.starts[1:]:
            forget_momentum(optimizers[0])
        yield from shards.epoch(epoch, since)

    fit(
        shards.model,
        passes,
        shards.params.model_copy(update={"epochs": shards.epochs}),
        generator,
        loss=shards.loss,
        on_optimizer=optimizers.append,
        callbacks=replace(problem.callbacks, after_epoch=None),
        first=min(since.values()),
    )


def facts(shards: Shards, affected: Mapping[int, int], since: Mapping[int, int]) -> EpochFacts:
    """What a request came to, for its row, by the names of `FACTS`.

    The first slice of any affected network, counted from 0; as many as there are slices where none is affected.
    """
    again = sum(shards.epochs - start for start in since.values())
    return {
        "affected_shards": float(len(affected)),
        "first_slice": float(min(affected.values(), default=len(shards.starts))),
        "networks": float(len(shards.networks)),
        "retrained_share": again / (shards.epochs * len(shards.networks)),
    }
