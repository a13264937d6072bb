"""Bad teacher: learn from a network that knows nothing what to say on the forget set (Chundawat et al. 2023).

The student starts from the original. On images to forget its teacher is a network with fresh weights, on retained ones
the original: it minimises KL(teacher || student) of either.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Annotated

from pydantic import Field

from core import models, quant
from core.data import Batch, batches, concat
from core.lazy import Tensor, nn, torch
from core.train import OnEpoch, Positive, autocast, fit
from core.unlearn.base import Method, Problem, UnlearnParams, lr_range
from core.unlearn.gradient_norms import gradient_probe
from core.unlearn.scrub import distillation


class BadTeacherParams(UnlearnParams):
    """Options beside the loop's. One epoch, as published, there with Adam at 1e-4; the loop here is SGD.

    retained: share of the retain set that takes part, drawn once.
    temperature: of both teachers and the student.

    The published loss averages over classes as well, which here is a matter of the learning rate.
    """

    epochs: Positive = 1
    retained: Annotated[float, Field(gt=0, le=1)] = 0.3
    temperature: Annotated[float, Field(gt=0)] = 1.0


def bad_teacher(
    problem: Problem, params: BadTeacherParams, generator: torch.Generator, on_epoch: OnEpoch | None = None
) -> nn.Module:
    """Trains the original on two teachers' answers; no label is read."""
    model = copy.deepcopy(problem.model)
    good = copy.deepcopy(problem.model).eval().requires_grad_(False)
    bad = ignorant(problem, params.batch_size, generator)
    count = max(1, round(params.retained * len(problem.retain)))
    retain = problem.retain.select(torch.randperm(len(problem.retain), generator=generator)[:count])
    images = concat(problem.forget.weighted(1.0), retain.weighted(0.0))

    def epochs(_epoch: int) -> Iterator[Batch]:
        return batches(images, params.batch_size, problem.augment, generator)

    def loss(logits_BK: Tensor, batch: Batch) -> Tensor:
        """A batch's weights are 1 for images to forget and 0 for others."""
        assert batch.weights is not None
        with torch.no_grad(), autocast(batch.images.device, params.precision):
            answers = [teacher(batch.images).float() for teacher in (good, bad)]
        teacher_BK = torch.where(batch.weights[:, None] > 0, answers[1], answers[0])
        return distillation(logits_BK, teacher_BK, params.temperature).mean()

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


def ignorant(problem: Problem, calibrated_on: int, generator: torch.Generator) -> nn.Module:
    """The original's architecture with fresh weights, in eval mode; quantizers start from retained images."""
    model = models.initialise_(copy.deepcopy(problem.model).requires_grad_(False), generator).eval()
    return quant.calibrate_(model, problem.augment.normalise(problem.retain.pixels[:calibrated_on]))


# One rate is published, with another optimizer: FT's range.
METHOD = Method(
    "bad_teacher",
    "Bad teacher",
    BadTeacherParams,
    lr_range(1e-3, 1e-1),
    bad_teacher,
    released={"decay_quantizers": True},
    passes=lambda p, forget, retain: p["epochs"] * (forget + p["retained"] * retain),
)
