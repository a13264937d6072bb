"""Optimisation-based unlearning with layer-wise partial updates (Gogineni & Nadimi 2024): GA that spares entries.

Each update moves only a share of every layer's entries (`PartialUpdates`). At a share of 1, ascent is GA number for
number.
"""

from __future__ import annotations

import copy
from typing import Literal

from core.data import batches, concat
from core.lazy import nn, torch
from core.train import LearningRate, OnEpoch, Positive, fit
from core.unlearn.base import Method, Problem, Range
from core.unlearn.gradient_ascent import ascent_loss
from core.unlearn.gradient_norms import gradient_probe
from core.unlearn.partial import PartialParams, PartialUpdates
from core.unlearn.passes import forget_set


class PartialAscentParams(PartialParams):
    """Options beside those of partial updates; epochs and learning rate are GA's.

    objective: ascent climbs the forget set's loss and reads nothing else. min_max also descends the retain
    set's: an epoch mixes both sets, forget images with the opposite sign, summed as in eq. (13).
    """

    epochs: Positive = 5
    lr: LearningRate = 1e-4
    objective: Literal["ascent", "min_max"] = "ascent"


def partial_ascent(
    problem: Problem, params: PartialAscentParams, generator: torch.Generator, on_epoch: OnEpoch | None = None
) -> nn.Module:
    """Moves a share of every layer's entries up the forget set's loss."""
    model = copy.deepcopy(problem.model)
    partial = PartialUpdates(model, params, generator)
    images = problem.forget
    if params.objective == "min_max":
        images = concat(images.weighted(1.0), problem.retain.weighted(-1.0))
    return fit(
        model,
        lambda _epoch: batches(images, params.batch_size, problem.augment, generator),
        params,
        generator,
        loss=ascent_loss,
        on_gradient=partial.mask_gradients,
        on_update=partial.hold_others,
        epoch_facts=gradient_probe(model, problem, params),
        on_epoch=on_epoch,
        callbacks=problem.callbacks,
        memory=partial,
    )


def _space(_arch: str) -> dict[str, Range]:
    # no range is published: GA's learning rates, and shares from a hundredth to everything
    return {"lr": Range(1e-5, 1e-3), "fraction": Range(0.01, 1.0)}


METHOD = Method(
    "partial_ascent", "Partial GA", PartialAscentParams, _space, partial_ascent, passes=forget_set
)
