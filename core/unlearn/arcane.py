"""ARCANE: a network for each class, so that forgetting a class is dropping its network (Yan et al. 2022).

Each network learns its class alone, in blocks; what it was before each block is kept. A request touches the networks of
its classes: a whole class takes its network away, which is exact and costs nothing; single images make it go on from
before the first block that holds one. An image is given to the class whose network maps it nearest to its centre.

Its paper's text at hand leaves the one-class loss, the selection and the blocks open; there is no public code. Here it
is Deep SVDD: min mean ‖φ_k(x) - c_k‖², c_k the mean output of the network before training, without biases, with
distances in units of their mean over the class. What is open is an option. Do not expect the accuracy of a classifier:
it is told as it is. On a device it is as many networks as there are classes.
"""

from __future__ import annotations

import copy
from typing import Annotated, Any, Literal

from pydantic import Field

from core import models
from core.data import Batch, plain_batches
from core.errors import BadInput
from core.lazy import Tensor, nn, no_grad, torch
from core.train import OnEpoch, Params, Positive
from core.unlearn.base import Method, Problem
from core.unlearn.hooks import Hook, Setting, Training, chosen
from core.unlearn.retrain import RetrainParams
from core.unlearn.shards import (
    FACTS,
    SHARD,
    Dealt,
    Shards,
    Table,
    affected_shards,
    facts,
    go_on_,
    restart_,
    what_is_left,
)


class ArcaneParams(Params):
    """Options; all of them are settled while the original trains.

    blocks: of each class. ranking: of a class's images, those that are expected to be asked for last: at random, or by
    how far their pixels are from the class's mean (outliers), as what is unusual is asked for.
    kept_share: of each class's images that it is trained on, the first ones (representative selection).
    Ranking and selection by outliers look at all images, those that will be forgotten too: what follows is exact for
    this table, not for the one that others would have made.
    """

    blocks: Positive = 2
    ranking: Literal["random", "outliers"] = "random"
    kept_share: Annotated[float, Field(gt=0, le=1)] = 1.0


class Classes(Shards):
    """The training of networks on one class each."""

    def prepare(self, shard: int, *, pretrained: bool = False) -> None:
        """Starts a network, and puts its centre where it maps its first block to."""
        super().prepare(shard, pretrained=pretrained)
        first = self.first_slice(shard)
        assert first is not None
        pixels = self.learned(shard, first).pixels
        network: Any = self.networks[shard]
        network.centre_(self.augment.normalise(pixels))

    def loss(self, logits_BK: Tensor, batch: Batch) -> Tensor:  # noqa: ARG002
        """Mean squared distance to the centre."""
        return logits_BK.mean()

    @no_grad
    def measure_(self, shard: int) -> None:
        """Sets the unit of a network's distances: their mean over what it was trained on."""
        network: Any = self.networks[shard].eval()
        images = self.learned(shard, len(self.starts) - 1)
        passes = plain_batches(images, self.params.batch_size, self.augment)
        found = torch.cat([network(batch.images) for batch in passes])
        network.scale.copy_(found.mean().clamp(min=1e-12))


class ByClass(Dealt):
    """The classes' part in the original's training."""

    kind = Classes

    def __init__(self, training: Training, setting: Setting) -> None:
        super().__init__(training, setting, by_class(training, setting), setting["blocks"])

    def prepare(self, generator: torch.Generator, pretrained: bool) -> None:
        """Each network by itself; what could learn a constant does not train."""
        super().prepare(generator, pretrained)
        models.train_shifts_(self.training.model, trains=False)

    def finish(self, model: nn.Module) -> None:
        """Sets the units of distances."""
        models.train_shifts_(model, trains=True)
        assert isinstance(self.shards, Classes)
        for shard in range(len(self.shards.networks)):
            self.shards.measure_(shard)


def by_class(training: Training, setting: Setting) -> Table:
    """Class and block of each image; -1 as its block for one that is not selected."""
    blocks, labels_N = setting["blocks"], training.images.labels.cpu()
    block_N = torch.full_like(labels_N, -1)
    for label in range(training.classes):
        members = (labels_N == label).nonzero()[:, 0]
        taken = members[_ranked(training, members, setting)]
        taken = taken[: max(1, round(setting["kept_share"] * len(taken)))] if len(taken) else taken
        if blocks > len(taken):
            raise BadInput(
                f"arcane: blocks={blocks}, and class {label} has {len(taken)} images to learn: take at most that many"
            )
        block_N[taken] = (torch.arange(len(taken)) // (len(taken) // blocks)).clamp(max=blocks - 1)
    return labels_N, block_N


def _ranked(training: Training, members: Tensor, setting: Setting) -> Tensor:
    """Of a class's images, positions among them, those last that are expected to be asked for."""
    if setting["ranking"] == "random":
        label = int(training.images.labels[members[0]]) if len(members) else 0
        return torch.randperm(len(members), generator=training.draws(-2 - label))
    pixels = training.images.pixels.cpu()[members].float().flatten(1)
    return (pixels - pixels.mean(0)).square().sum(1).argsort(stable=True)


def arcane(
    problem: Problem,
    params: ArcaneParams,
    generator: torch.Generator,
    on_epoch: OnEpoch | None = None,
) -> nn.Module:
    """Drops the networks of forgotten classes, and trains those that lost single images again.

    Tells how many networks were affected, out of how many, the first block of any, and the share of the training that
    was done again. BadInput if the original was not trained by class.
    """
    if SHARD not in problem.kept or not isinstance(problem.model, models.OneClassEnsemble):
        raise BadInput("arcane: this original was not trained by class")
    model = copy.deepcopy(problem.model)
    classes = what_is_left(problem, model, params.blocks, Classes)
    assert isinstance(classes, Classes)
    affected = affected_shards(problem, classes)
    since = restart_(classes, affected, problem)
    if since:
        models.train_shifts_(model, trains=False)
        go_on_(classes, since, generator, problem)
        models.train_shifts_(model, trains=True)
        for shard in since:
            classes.measure_(shard)
    if on_epoch is not None:
        on_epoch(0, facts(classes, affected, since))
    return model.eval()


METHOD = Method(
    "arcane",
    "ARCANE",
    ArcaneParams,
    lambda _arch: {},  # nothing to search: the training decides
    arcane,
    hook=Hook(
        chosen("blocks", "ranking", "kept_share"),
        ByClass,
        build=lambda model, _setting: models.one_class_ensemble(model),
    ),
    # a class costs nothing; a random share of the images is in every class, and in its first block
    passes=lambda _p, _forget, retain: RetrainParams().epochs * retain,
    facts=FACTS,
)
