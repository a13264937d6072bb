"""SISA: networks on disjoint shards of the data, of which only those that saw an image train again (Bourtoule 2021).

The images are dealt out to S shards, each shard's into R slices. A shard's network learns its first slice, then the
first two, and so on; what it was before each slice is kept. To forget, the networks of affected shards go on from
before the first slice that holds an image to forget, on what is left: exactly what they would be had those images
never been there. The networks answer together. One module holds them all and one loop trains them, a shard after the
other in each epoch.

A device pays for it: S networks in memory, and S forward passes for an answer.
"""

from __future__ import annotations

import copy
import hashlib
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import replace

from core import models
from core.data import Batch, Images, Transform, batches
from core.errors import BadInput
from core.lazy import Tensor, nn, torch
from core.models import Aggregate, aggregate as aggregate
from core.train import EpochFacts, OnEpoch, Params, Positive, TrainParams, fit
from core.unlearn.base import Method, Problem
from core.unlearn.fresh import start_
from core.unlearn.hooks import Hook, Part, Setting, Training, chosen
from core.unlearn.retrain import RetrainParams

SHARD, SLICE, PARAMS, SEED, BEFORE = "shard", "slice", "params", "seed", "before."


class SISAParams(Params):
    """Options; all of them are settled while the original trains.

    shards: S, up to 20 in the paper without much loss there. slices: R.
    aggregate: vote, as published, or mean of probabilities.
    """

    shards: Positive = 5
    slices: Positive = 2
    aggregate: Aggregate = "vote"


def assignment(n: int, shards: int, slices: int) -> tuple[Tensor, Tensor]:
    """Shard and slice of each position in the shuffled order, int64 N.

    Both are contiguous; the last shard, and the last slice of a shard, take the rest.
    """
    shard_N = (torch.arange(n) // max(n // shards, 1)).clamp(max=shards - 1)
    count_S = torch.bincount(shard_N, minlength=shards)
    within_N = torch.arange(n) - (count_S.cumsum(0) - count_S)[shard_N]
    length_N = (count_S // slices).clamp(min=1)[shard_N]
    return shard_N, (within_N // length_N).clamp(max=slices - 1)


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
        return self.images.select(((self.shard_N == shard) & (self.slice_N <= last)).nonzero()[:, 0])

    def first_slice(self, shard: int) -> int | None:
        """The first slice of a shard with any image; None for a shard without."""
        held = self.slice_N[self.shard_N == shard]
        return int(held.min()) if len(held) else None

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
            if not len(images):
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
    """The shards' part in the original's training."""

    def __init__(self, training: Training, setting: Setting) -> None:
        super().__init__(training)
        if training.params is None:
            raise BadInput("sisa: the training must say how it trains")
        shards, slices = setting["shards"], setting["slices"]
        _check(training, shards, slices)
        self.table = _dealt(training, shards, slices)
        params = training.params.model_copy(update={"batch_size": training.batch_size})
        self.shards = Shards(
            training.model, training.images, self.table, training.augment, training.seed, params, slices
        )
        self.plain = shards == slices == 1  # then it is any other training, number for number
        self.before: dict[str, Tensor] = {}
        self.optimizer: torch.optim.SGD | None = None

    def prepare(self, generator: torch.Generator, pretrained: bool) -> None:
        """Each network by itself."""
        if self.plain:
            super().prepare(generator, pretrained)
            return
        for shard in range(len(self.shards.networks)):
            self.shards.prepare(shard, pretrained=pretrained)

    def epochs(self, asked: int) -> int:
        """Those on all slices."""
        return sum(slice_epochs(asked, len(self.shards.starts)))

    def on_optimizer(self, optimizer: torch.optim.SGD) -> None:
        """Its momentum ends with a slice."""
        self.optimizer = optimizer

    def batches(self, epoch: int, generator: torch.Generator) -> Iterator[Batch]:
        """One shard's after the other's; before a new slice each network's state is kept."""
        if self.plain:
            yield from super().batches(epoch, generator)
            return
        for slice_ in (r for r, start in enumerate(self.shards.starts) if r and start == epoch):
            self.before |= _state(self.shards.networks, slice_)
            _forget_momentum(self.optimizer)
        yield from self.shards.epoch(epoch, dict.fromkeys(range(len(self.shards.networks)), 0))

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


def _check(training: Training, shards: int, slices: int) -> None:
    """Raises BadInput where some shard would lack a class, or some slice an image."""
    count_K = torch.bincount(training.images.labels, minlength=training.classes)
    fewest, label = (int(value) for value in count_K.min(0))
    if shards > fewest:
        raise BadInput(
            f"sisa: shards={shards}, and class {label} has {fewest} images: take at most {fewest} shards"
        )
    smallest = len(training.images) // shards
    if slices > smallest:
        raise BadInput(
            f"sisa: slices={slices}, and a shard has {smallest} images: take at most {smallest} slices"
        )


def _dealt(training: Training, shards: int, slices: int) -> tuple[Tensor, Tensor]:
    """Shard and slice of each image, in the images' order; on the CPU."""
    order_N = torch.randperm(len(training.images), generator=training.draws(-1))
    tables = assignment(len(order_N), shards, slices)
    return tables[0][order_N.argsort()], tables[1][order_N.argsort()]


def _state(networks: list[nn.Module], slice_: int) -> dict[str, Tensor]:
    """A copy of what each network is before a slice."""
    return {
        f"{BEFORE}{shard}.{slice_}.{name}": t.detach().clone()
        for shard, network in enumerate(networks)
        for name, t in network.state_dict().items()
    }


def _forget_momentum(optimizer: torch.optim.SGD | None) -> None:
    """As a new optimizer would begin, which the published code makes for each slice: a state is weights alone."""
    assert optimizer is not None
    optimizer.state.clear()


def sisa(
    problem: Problem,
    params: SISAParams,
    generator: torch.Generator,
    on_epoch: OnEpoch | None = None,
) -> nn.Module:
    """Trains the networks of affected shards again, from before the first affected slice.

    Of the images to forget only their places in the original's training are read. Tells how many shards were affected,
    out of how many networks, the first slice of any, and the share of the training that was done again. A shard of
    which nothing is left has no vote any more. BadInput if the original was not trained in shards.
    """
    if SHARD not in problem.kept:
        raise BadInput("sisa: this original was not trained in shards")
    model = copy.deepcopy(problem.model)
    shards = _what_is_left(problem, params, model)
    affected = _affected(problem, shards)
    since = _restart_(shards, affected, problem)
    if since:
        _go_on(shards, since, generator, problem)
    if on_epoch is not None:
        on_epoch(0, _facts(shards, affected, since))
    return model.eval()


def _what_is_left(problem: Problem, params: SISAParams, model: nn.Module) -> Shards:
    """The training of the shards on the retained images that the original saw, in their order there."""
    kept = problem.kept
    _, retain_at = problem.trained_at()
    seen = (retain_at >= 0).nonzero()[:, 0]
    seen = seen[retain_at[seen].argsort()]
    table = kept[SHARD].cpu()[retain_at[seen]], kept[SLICE].cpu()[retain_at[seen]]
    trained = TrainParams.model_validate_json(bytes(kept[PARAMS].tolist()), strict=False)
    images = problem.retain.select(seen)
    return Shards(model, images, table, problem.augment, int(kept[SEED]), trained, params.slices)


def _affected(problem: Problem, shards: Shards) -> dict[int, int]:
    """The first slice with an image to forget, by shard whose network saw any."""
    forget_at, _ = problem.trained_at()
    forget_at = forget_at[forget_at >= 0]
    shard_M, slice_M = (problem.kept[name].cpu()[forget_at] for name in (SHARD, SLICE))
    first = {int(shard): int(slice_M[shard_M == shard].min()) for shard in shard_M.unique()}
    # of very few epochs none may be left for the last slices
    return {shard: slice_ for shard, slice_ in first.items() if shards.starts[slice_] < shards.epochs}


def _restart_(shards: Shards, affected: Mapping[int, int], problem: Problem) -> dict[int, int]:
    """Puts affected networks back, in place; returns the epoch from which each trains.

    A network that nothing is left to train on loses its vote and is not among them.
    """
    since = {}
    for shard, slice_ in affected.items():
        first = shards.first_slice(shard)
        if first is None:
            shards.model.get_buffer("voting")[shard] = False
            continue
        if slice_ == 0:
            shards.prepare(shard, pretrained=problem.pretrained)
        else:
            prefix = f"{BEFORE}{shard}.{slice_}."
            state = {n.removeprefix(prefix): t for n, t in problem.kept.items() if n.startswith(prefix)}
            shards.networks[shard].load_state_dict(state)
        since[shard] = shards.starts[max(slice_, first)]
    return since


def _go_on(shards: Shards, since: Mapping[int, int], generator: torch.Generator, problem: Problem) -> None:
    """Trains the networks to the end, in place."""
    optimizers: list[torch.optim.SGD] = []

    def passes(epoch: int) -> Iterator[Batch]:
        if epoch in shards.starts[1:]:
            _forget_momentum(optimizers[0])
        yield from shards.epoch(epoch, since)

    fit(
        shards.model,
        passes,
        shards.params.model_copy(update={"epochs": shards.epochs}),
        generator,
        on_optimizer=optimizers.append,
        around=replace(problem.around, after_epoch=None),
        first=min(since.values()),
    )


def _facts(shards: Shards, affected: Mapping[int, int], since: Mapping[int, int]) -> EpochFacts:
    again = sum(shards.epochs - start for start in since.values())
    return {
        "affected_shards": float(len(affected)),
        "first_slice": float(min(affected.values(), default=len(shards.starts))),
        "networks": float(len(shards.networks)),
        "retrained_share": again / (shards.epochs * len(shards.networks)),
    }


METHOD = Method(
    "sisa",
    "SISA",
    SISAParams,
    lambda _arch: {},  # nothing to search: the training decides
    sisa,
    hook=Hook(
        chosen("shards", "slices", "aggregate"),
        Dealt,
        build=lambda model, setting: models.ensemble(model, setting["shards"], setting["aggregate"]),
    ),
    # a class, and any share of the images worth speaking of, is in every shard and from the first slice on
    passes=lambda _p, _forget, retain: RetrainParams().epochs * retain,
)
