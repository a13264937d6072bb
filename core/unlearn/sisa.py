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
from collections.abc import Iterator

from core import models
from core.data import Batch
from core.errors import BadInput
from core.lazy import Tensor, nn, torch
from core.models import Aggregate, aggregate as aggregate
from core.train import OnEpoch, Params, Positive
from core.unlearn.base import Method, Problem
from core.unlearn.hooks import Hook, Part, Setting, Training, chosen
from core.unlearn.retrain import RetrainParams
from core.unlearn.shards import (
    FACTS,
    SHARD,
    Dealt,
    affected_shards,
    facts,
    go_on_,
    restart_,
    slice_epochs as slice_epochs,
    what_is_left,
)


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


class AtRandom(Dealt):
    """Shards of images in random order."""

    def __init__(self, training: Training, setting: Setting) -> None:
        shards, slices = setting["shards"], setting["slices"]
        _check(training, shards, slices)
        super().__init__(training, setting, _dealt(training, shards, slices), slices)
        self.plain = shards == slices == 1  # then it is any other training, number for number

    def prepare(self, generator: torch.Generator, pretrained: bool) -> None:
        """Each network by itself."""
        (Part if self.plain else Dealt).prepare(self, generator, pretrained)

    def batches(self, epoch: int, generator: torch.Generator) -> Iterator[Batch]:
        """One shard's after the other's."""
        return (Part if self.plain else Dealt).batches(self, epoch, generator)


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
    shards = what_is_left(problem, model, params.slices)
    affected = affected_shards(problem, shards)
    since = restart_(shards, affected, problem)
    if since:
        go_on_(shards, since, generator, problem)
    if on_epoch is not None:
        on_epoch(0, facts(shards, affected, since))
    return model.eval()


METHOD = Method(
    "sisa",
    "SISA",
    SISAParams,
    lambda _arch: {},  # nothing to search: the training decides
    sisa,
    hook=Hook(
        chosen("shards", "slices", "aggregate"),
        AtRandom,
        build=lambda model, setting: models.ensemble_of(model, setting["shards"], setting["aggregate"]),
    ),
    # a class, and any share of the images worth speaking of, is in every shard and from the first slice on
    passes=lambda _p, _forget, retain: RetrainParams().epochs * retain,
    facts=FACTS,
)
