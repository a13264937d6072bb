"""DELETE: answer as the original would if it did not know the class (Zhou et al. 2025).

On images to forget the network learns the original's probabilities of all other classes, that of the true one put
to zero: KL(target || student). The retain set is never read.
"""

from __future__ import annotations

import copy
from typing import Annotated

from pydantic import Field

from core.data import Batch, batches
from core.lazy import F, Tensor, nn, torch
from core.train import LearningRate, OnEpoch, Positive, Schedule, autocast, fit
from core.unlearn.base import Method, Problem, UnlearnParams, lr_range
from core.unlearn.gradient_norms import gradient_probe
from core.unlearn.passes import forget_set


class DeleteParams(UnlearnParams):
    """The published settings: SGD without weight decay, there in batches of 128 at a rate that stays."""

    epochs: Positive = 20
    lr: LearningRate = 1e-4
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    schedule: Schedule = "constant"


def delete_targets(teacher_logits_NK: Tensor, labels_N: Tensor) -> Tensor:
    """The teacher's probabilities given that the label is wrong: 0 at the label, float32 NK, rows sum to 1."""
    others_NK = teacher_logits_NK.float().scatter(1, labels_N[:, None], -torch.inf)
    return others_NK.softmax(1)


def delete(
    problem: Problem, params: DeleteParams, generator: torch.Generator, on_epoch: OnEpoch | None = None
) -> nn.Module:
    """Distils the original without the labels to forget, on the forget set alone."""
    model = copy.deepcopy(problem.model)
    teacher = copy.deepcopy(problem.model).eval().requires_grad_(False)

    def loss(logits_BK: Tensor, batch: Batch) -> Tensor:
        """KL(target || student), the mean over a batch."""
        with torch.no_grad(), autocast(batch.images.device, params.precision):
            teacher_BK = teacher(batch.images)
        target_BK = delete_targets(teacher_BK, batch.labels)
        return F.kl_div(logits_BK.log_softmax(1), target_BK, reduction="batchmean")

    return fit(
        model,
        lambda _epoch: batches(problem.forget, params.batch_size, problem.augment, generator),
        params,
        generator,
        loss=loss,
        epoch_facts=gradient_probe(model, problem, params),
        on_epoch=on_epoch,
        callbacks=problem.callbacks,
    )


# Published are 1e-4 and, with 100 classes, 5e-5: about two decades around them.
METHOD = Method("delete", "DELETE", DeleteParams, lr_range(1e-5, 1e-2), delete, passes=forget_set)
