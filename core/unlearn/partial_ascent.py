"""Optimisation-based unlearning with layer-wise partial updates (Gogineni & Nadimi 2024): GA that spares entries.

Each update moves only a share of every layer's entries (`PartialUpdates`). At a share of 1, ascent is GA number for
number.
"""

import copy
from collections.abc import Iterator
from typing import Literal

import torch
from torch import nn

from core.data.loader import Batch, batches
from core.train import LearningRate, OnEpoch, Positive, fit
from core.unlearn.base import Method, Problem, Range
from core.unlearn.gradient_ascent import ascent_loss
from core.unlearn.gradient_norms import gradient_probe
from core.unlearn.partial import PartialParams, PartialUpdates
from core.unlearn.random_labels import Order, epoch_in_order


class PartialAscentParams(PartialParams):
    """Options beside those of partial updates; epochs and learning rate are GA's.

    objective: ascent climbs the forget set's loss and reads nothing else. min_max also descends the retain
    set's: an epoch goes over both sets, forget images with the opposite sign, summed as in eq. (13).
    order: of the two sets under min_max.
    """

    epochs: Positive = 5
    lr: LearningRate = 1e-4
    objective: Literal["ascent", "min_max"] = "ascent"
    order: Order = "joint"


def partial_ascent(
    problem: Problem, params: PartialAscentParams, generator: torch.Generator, on_epoch: OnEpoch | None = None
) -> nn.Module:
    """Moves a share of every layer's entries up the forget set's loss."""
    model = copy.deepcopy(problem.model)
    partial = PartialUpdates(model, params, generator)
    descended, climbed = problem.retain.weighted(-1.0), problem.forget.weighted(1.0)

    def epochs(_epoch: int) -> Iterator[Batch]:
        if params.objective == "ascent":
            return batches(problem.forget, params.batch_size, problem.augment, generator)
        return epoch_in_order(climbed, descended, params.order, params, problem, generator)

    return fit(
        model,
        epochs,
        params,
        generator,
        loss=ascent_loss,
        on_gradient=partial.mask_gradients,
        on_update=partial.hold_others,
        epoch_facts=gradient_probe(model, problem, params),
        on_epoch=on_epoch,
        checkpoints=problem.checkpoints,
        memory=partial,
        forward=problem.forward,
    )


def _space(_arch: str) -> dict[str, Range]:
    # no range is published: GA's learning rates, and shares from a hundredth to everything
    return {"lr": Range(1e-5, 1e-3), "fraction": Range(0.01, 1.0)}


METHOD = Method("partial_ascent", "Partial GA", PartialAscentParams, _space, partial_ascent)
