"""Certified Removal: a Newton step takes images out of a linear head, with a bound on what is left (Guo et al. 2020).

The last layer is fitted anew when the original's training ends: one logistic regression for each class against the
others, on features of length 1, with a random linear term b in its loss. To forget, every regression takes one Newton
step to the minimum without the images. What gradient may be left there is bounded; hidden under b, it makes the head
(ε, δ)-indistinguishable from one that never saw the images, with ε = c Σ bound / σ and c = √(2 ln(1.5 / δ)).

A HEAD CERTIFICATE IS ALL THAT IT IS. It covers the last layer alone: the features below still know the images unless
whoever trained them never had these. The honest grid starts from public weights with a frozen backbone in full
precision (weights.…, backbone=frozen, quantizers=fp). Bounds are those of the published code, with two faults mended:
norms are exact where it iterates from a random start, and b is part of the step, so that what the fit left undone is
made good by it. The weights are double while they are computed; a quantized head rounds them afterwards, with steps
made of the new weights alone, which no certificate minds.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from core import models, quant
from core.data import Batch, Images, Transform, plain_batches
from core.errors import BadInput
from core.lazy import Tensor, nn, no_grad, torch
from core.train import OnEpoch, Params, Positive, TrainParams
from core.unlearn.base import Method, Problem
from core.unlearn.hooks import Hook, Part, Setting, Training, chosen
from core.unlearn.logistic import budget as budget, fit_head, newton_step as newton_step

NOISE, WEIGHTS = "noise", "weights"


class CertifiedParams(Params):
    """Options. Published are decays of 1e-6 to 1e-3 and σ = 10, for 73,000 images.

    decay: λ of (λ n / 2) ‖w‖². sigma: deviation of b.
    backbone: trained with everything else, or frozen as it was loaded; then only the head is fitted.
    epsilon, delta: the budget. A request whose bound goes beyond epsilon is refused. None refuses nothing; which ε the
    request came to is told either way.
    requests: the images to forget come as so many requests in a row, in their order; bounds add up.
    """

    decay: Annotated[float, Field(gt=0)] = 1e-3
    sigma: Annotated[float, Field(gt=0)] = 1.0
    backbone: Literal["trained", "frozen"] = "trained"
    epsilon: Annotated[float, Field(gt=0)] | None = None
    delta: Annotated[float, Field(gt=0, lt=1)] = 1e-4
    requests: Positive = 1


class Head(Part):
    """The head's part in the original's training: its fit at the end."""

    def __init__(self, training: Training, setting: Setting) -> None:
        super().__init__(training)
        self.setting = setting
        self.frozen = setting["backbone"] == "frozen"
        self.tensors: dict[str, Tensor] = {}

    def prepare(self, generator: torch.Generator, pretrained: bool) -> None:
        """The usual beginning; then a frozen backbone stays as it is."""
        super().prepare(generator, pretrained)
        if self.frozen:
            self.training.model.requires_grad_(False)
            models.unit_head_of(self.training.model).weight.requires_grad_()

    def planned(self, params: TrainParams) -> TrainParams:
        """One epoch where the backbone is frozen: the head is fitted at the end anyway."""
        return params.model_copy(update={"epochs": 1}) if self.frozen else params

    def batches(self, epoch: int, generator: torch.Generator) -> Iterator[Batch]:
        """The usual ones; a frozen backbone's statistics stay too."""
        if self.frozen:
            self.training.model.eval()  # after the loop has set its mode: this runs with the first batch
        yield from super().batches(epoch, generator)

    def finish(self, model: nn.Module) -> None:
        """Fits the head on plain images."""
        training, decay = self.training, self.setting["decay"]
        model.requires_grad_(True)
        features_ND = features(model, training.images, training.augment, training.batch_size)
        shape = training.classes, features_ND.shape[1]
        noise_KD = torch.randn(shape, generator=training.draws(-1), dtype=torch.float64)
        noise_KD = (self.setting["sigma"] * noise_KD).to(features_ND.device)
        weights_KD = torch.stack(
            [
                fit_head(
                    features_ND, one_against_others(training.images.labels, label), decay, noise_KD[label]
                )
                for label in range(training.classes)
            ]
        )
        _put_head_(model, weights_KD)
        self.tensors = {NOISE: noise_KD, WEIGHTS: weights_KD}

    def kept(self) -> dict[str, Tensor]:
        """The noise, a secret of whoever keeps the original, and the weights in double precision; both KD."""
        return self.tensors


@no_grad
def features(model: nn.Module, images: Images, augment: Transform, batch_size: int) -> Tensor:
    """What the head sees of plain images, double ND; the model is in eval mode."""
    passes = plain_batches(images, batch_size, augment)
    return torch.cat([models.unit_features(model, batch.images).double() for batch in passes])


def one_against_others(labels_N: Tensor, label: int) -> Tensor:
    """1 for a label and -1 for any other, double N."""
    return torch.where(labels_N == label, 1.0, -1.0).double()


@no_grad
def _put_head_(model: nn.Module, weights_KD: Tensor) -> None:
    """Writes the head's weights; a quantizer's steps follow from them alone."""
    head = models.unit_head_of(model)
    head.weight.copy_(weights_KD)
    quant.restart_weight_quantizers_(head)


def certified(
    problem: Problem,
    params: CertifiedParams,
    generator: torch.Generator,  # noqa: ARG001  (nothing is drawn)
    on_epoch: OnEpoch | None = None,
) -> nn.Module:
    """Takes the images to forget out of the head, request by request.

    Tells `head_certificate_bound`, the sum of the bounds, and `head_certificate_epsilon`, the ε at which it holds.
    BadInput if that is above the epsilon asked for, or the original was not trained with a certified head.
    """
    if NOISE not in problem.kept:
        raise BadInput("certified: this original was not trained with a certified head")
    model = copy.deepcopy(problem.model).eval()
    parts = [
        features(model, part, problem.augment, params.batch_size) for part in (problem.forget, problem.retain)
    ]
    labels = torch.cat([problem.forget.labels, problem.retain.labels])
    weights_KD, bound = _without(torch.cat(parts), labels, len(parts[0]), problem, params)
    _put_head_(model, weights_KD)
    if on_epoch is not None:
        spent = bound / budget(1.0, params.delta, params.sigma)
        on_epoch(0, {"head_certificate_bound": bound, "head_certificate_epsilon": spent})
    return model


def _without(
    features_ND: Tensor, labels_N: Tensor, count: int, problem: Problem, params: CertifiedParams
) -> tuple[Tensor, float]:
    """Heads KD without the first `count` rows, and the sum of bounds.

    The regressions are one long vector to the certificate, with noise of one deviation: a request's bound is the root
    of the sum of their squares.
    """
    weights, noise, total = list(problem.kept[WEIGHTS]), problem.kept[NOISE], 0.0
    for number, gone in enumerate(torch.arange(count).tensor_split(min(params.requests, max(count, 1))), 1):
        bounds = []
        for label in range(len(weights)):
            targets_N = one_against_others(labels_N, label)
            weights[label], bound = newton_step(
                features_ND, targets_N, weights[label], torch.arange(len(gone)), params.decay, noise[label]
            )
            bounds.append(bound)
        total += math.hypot(*bounds)
        _check(total, number, params)
        features_ND, labels_N = features_ND[len(gone) :], labels_N[len(gone) :]
    return torch.stack(weights), total


def _check(total: float, number: int, params: CertifiedParams) -> None:
    """Raises BadInput where the sum of bounds is beyond the budget."""
    if params.epsilon is None:
        return
    allowed = budget(params.epsilon, params.delta, params.sigma)
    if total > allowed:
        raise BadInput(
            f"certified: epsilon={params.epsilon:g} allows residual bounds of {allowed:.3g} in all, and request"
            f" {number} of {params.requests} brings them to {total:.3g}: retrain, or allow a larger epsilon"
        )


METHOD = Method(
    "certified",
    "Certified Removal",
    CertifiedParams,
    lambda _arch: {},  # nothing to search: decay and noise are settled by the training
    certified,
    hook=Hook(
        chosen("decay", "sigma", "backbone"), Head, build=lambda model, _setting: models.with_unit_head(model)
    ),
    passes=lambda _p, forget, retain: (forget + retain) / 3,  # forward alone
    facts=("head_certificate_bound", "head_certificate_epsilon"),
)
