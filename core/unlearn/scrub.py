"""SCRUB: a student that leaves its teacher on the forget set and stays with it elsewhere (Kurmanji et al. 2023).

The teacher is the original, the student starts from it. With K = T² KL(teacher_T || student_T), T a temperature:
    max pass over D_f, in the first `msteps` epochs:  minimise  -K
    min pass over D_r, in every epoch, after it:      minimise  γ CE + α K
Not here: SCRUB+R, which rewinds to an earlier epoch by the error on held-out images.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from itertools import chain
from typing import Annotated

from pydantic import Field

from core.data import Batch, batches
from core.lazy import F, Tensor, nn, torch
from core.train import LearningRate, OnEpoch, Positive, autocast, fit
from core.unlearn.base import Method, Problem, UnlearnParams, lr_range
from core.unlearn.gradient_norms import gradient_probe


class ScrubParams(UnlearnParams):
    """Options beside the loop's. Defaults: the published large-scale runs, whose optimizer is this loop's SGD too.

    alpha, gamma: weights of K and of the cross-entropy on retained images.
    temperature: T of both.
    msteps: epochs, the first ones, that begin with a max pass.
    forget_batch_size: of the max pass, which takes one step for each of its batches.

    The published learning rate falls to a tenth after epochs 3, 5 and 9; here the loop's schedule holds.
    """

    epochs: Positive = 3
    lr: LearningRate = 5e-4
    alpha: Annotated[float, Field(ge=0)] = 0.001
    gamma: Annotated[float, Field(ge=0)] = 0.99
    temperature: Annotated[float, Field(gt=0)] = 4.0
    msteps: Annotated[int, Field(ge=0)] = 2
    forget_batch_size: Positive = 32


def distillation(student_BK: Tensor, teacher_BK: Tensor, temperature: float) -> Tensor:
    """T² KL(teacher_T || student_T) of each image, B, from logits; T² keeps gradients of one size at any T."""
    log_p, log_q = (
        (logits / temperature).log_softmax(1) for logits in (teacher_BK.float(), student_BK.float())
    )
    return (log_p.exp() * (log_p - log_q)).sum(1) * temperature**2


def scrub(
    problem: Problem, params: ScrubParams, generator: torch.Generator, on_epoch: OnEpoch | None = None
) -> nn.Module:
    """Alternates max passes over the forget set and min passes over the retain set."""
    model = copy.deepcopy(problem.model)
    teacher = copy.deepcopy(problem.model).eval().requires_grad_(False)
    leaves, stays = problem.forget.weighted(1.0), problem.retain.weighted(0.0)

    def epochs(epoch: int) -> Iterator[Batch]:
        low = batches(stays, params.batch_size, problem.augment, generator)
        if epoch >= params.msteps:
            return low
        return chain(batches(leaves, params.forget_batch_size, problem.augment, generator), low)

    def loss(logits_BK: Tensor, batch: Batch) -> Tensor:
        """Of a batch of either set: its weights are 1 for images to leave the teacher on, 0 for others."""
        assert batch.weights is not None
        with torch.no_grad(), autocast(batch.images.device, params.precision):
            teacher_BK = teacher(batch.images)
        apart_B = distillation(logits_BK, teacher_BK, params.temperature)
        kept_B = params.gamma * F.cross_entropy(logits_BK, batch.labels, reduction="none")
        return torch.lerp(kept_B + params.alpha * apart_B, -apart_B, batch.weights).mean()

    return fit(
        model,
        epochs,
        params,
        generator,
        loss=loss,
        epoch_facts=gradient_probe(model, problem, params),
        on_epoch=on_epoch,
        callbacks=problem.callbacks,
    )


# The source gives one rate for each task (5e-4 here) and no range.
METHOD = Method(
    "scrub", "SCRUB", ScrubParams, lr_range(1e-4, 1e-2), scrub, released={"decay_quantizers": True}
)
