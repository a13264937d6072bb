"""GA: climb the loss of the forget set (Graves et al. 2021; Thudi et al. 2022)."""

from __future__ import annotations

import copy

from core.data import Batch, batches
from core.lazy import Tensor, nn, torch
from core.train import LearningRate, OnEpoch, Positive, cross_entropy, fit
from core.unlearn.base import Method, Problem, UnlearnParams, lr_range
from core.unlearn.gradient_norms import gradient_probe
from core.unlearn.passes import forget_set


class GAParams(UnlearnParams):
    """The paper's: 5 epochs, learning rates of 1e-5 to 1e-3 because the loss has no upper bound."""

    epochs: Positive = 5
    lr: LearningRate = 1e-4


def ascent_loss(logits_BK: Tensor, batch: Batch) -> Tensor:
    """Minus the cross-entropy."""
    return -cross_entropy(logits_BK, batch)


def gradient_ascent(
    problem: Problem, params: GAParams, generator: torch.Generator, on_epoch: OnEpoch | None = None
) -> nn.Module:
    """Ascends on the forget set alone; normalisation statistics follow it too, as published."""
    model = copy.deepcopy(problem.model)
    return fit(
        model,
        lambda _epoch: batches(problem.forget, params.batch_size, problem.augment, generator),
        params,
        generator,
        loss=ascent_loss,
        epoch_facts=gradient_probe(model, problem, params),
        callbacks=problem.callbacks,
        on_epoch=on_epoch,
    )


METHOD = Method(
    "ga",
    "GA",
    GAParams,
    lr_range(1e-5, 1e-3),
    gradient_ascent,
    released={"decay_quantizers": True},
    passes=forget_set,
)
