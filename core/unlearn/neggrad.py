"""NegGrad+: descend the retain set's loss and climb the forget set's in the same step (Kurmanji et al. 2023).

α L_r - (1 - α) L_f on one batch of either set; an epoch goes once over the retain set, and over the forget set as
often as that takes.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from core.data import Batch, Images, Transform, batches
from core.lazy import F, Tensor, nn, torch
from core.train import OnEpoch, fit
from core.unlearn.base import Method, Problem, Range, UnlearnParams
from core.unlearn.gradient_norms import gradient_probe


class NegGradParams(UnlearnParams):
    """Options beside the loop's. Epochs, rate and α are the published ones.

    alpha: weight of the retain set's loss; the forget set's has the rest.
    statistics: frozen trains in eval mode, as the authors' code does: normalisation keeps its running statistics,
    dropout is off. moving is the usual training mode, as other people's code has it; both batches go through the
    network together then, and share their statistics.
    cap: the loss of an image to forget above which it is not climbed any further. It has no bound otherwise (None,
    as published).
    """

    alpha: Annotated[float, Field(ge=0, le=1)] = 0.95
    statistics: Literal["frozen", "moving"] = "frozen"
    cap: Annotated[float, Field(gt=0)] | None = None


def neggrad_loss(retain_loss: Tensor, forget_loss: Tensor, alpha: float) -> Tensor:
    """α L_r - (1 - α) L_f."""
    return alpha * retain_loss - (1 - alpha) * forget_loss


def paired_batches(
    retain: Images, forget: Images, size: int, transform: Transform, generator: torch.Generator
) -> Iterator[Batch]:
    """A pass over the retain set, each batch with one of the forget set behind it, whose weights are 1 and not 0."""
    again = endless(forget.weighted(1.0), size, transform, generator)
    for kept in batches(retain.weighted(0.0), size, transform, generator):
        left = next(again)
        assert kept.weights is not None
        assert left.weights is not None
        images = torch.cat([kept.images, left.images]).to(memory_format=torch.channels_last)
        yield Batch(images, torch.cat([kept.labels, left.labels]), torch.cat([kept.weights, left.weights]))


def endless(images: Images, size: int, transform: Transform, generator: torch.Generator) -> Iterator[Batch]:
    """Shuffled passes one after the other."""
    while True:
        yield from batches(images, size, transform, generator)


def neggrad(
    problem: Problem, params: NegGradParams, generator: torch.Generator, on_epoch: OnEpoch | None = None
) -> nn.Module:
    """Trains on pairs of batches, one of either set."""
    model = copy.deepcopy(problem.model)

    def epochs(_epoch: int) -> Iterator[Batch]:
        if params.statistics == "frozen":
            model.eval()  # asked for after the loop has set its mode: a generator starts with its first batch
        yield from paired_batches(
            problem.retain, problem.forget, params.batch_size, problem.augment, generator
        )

    def loss(logits_BK: Tensor, batch: Batch) -> Tensor:
        left_B = batch.weights
        assert left_B is not None
        losses_B = F.cross_entropy(logits_BK, batch.labels, reduction="none")
        capped_B = losses_B if params.cap is None else losses_B.clamp(max=params.cap)
        means = (losses_B * (1 - left_B)).sum() / (1 - left_B).sum(), (capped_B * left_B).sum() / left_B.sum()
        return neggrad_loss(*means, params.alpha)

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


def _space(_arch: str) -> dict[str, Range]:
    # one setting is published; α from where the forget set counts a tenth to where it hardly does, and FT's rates
    return {"lr": Range(1e-3, 1e-1), "alpha": Range(0.9, 0.999, log=False)}


METHOD = Method(
    "neggrad",
    "NegGrad+",
    NegGradParams,
    _space,
    neggrad,
    passes=lambda p, _forget, retain: 2 * p["epochs"] * retain,
)
