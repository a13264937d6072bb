"""SFRon: climb the forget set's loss where the retain set does not mind, and repair every step (Huang et al. 2024).

Every fifth step an ascent goes before the step on the retain set. It climbs c_t Σ w_i ℓ_i, with w_i ∝ ℓ_i^-λ over
the batch, so that images that are forgotten already weigh less; c_t falls as a cosine. It moves only parameters that
matter at least γ times as much to the forget set as to the retain set, by Fisher diagonals of whole batches.
Left out: the slow average of weights, which the published code switches off (β = 1).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from typing import Annotated

from pydantic import Field

from core.data import Batch, Images, batches, plain_batches
from core.lazy import F, Tensor, nn, torch
from core.train import OnEpoch, Positive, cross_entropy, fit
from core.unlearn.base import Method, Problem, Range, UnlearnParams
from core.unlearn.fisher import batch_fisher
from core.unlearn.gradient_norms import gradient_probe
from core.unlearn.neggrad import endless
from core.unlearn.parameters import Vector

FLOOR = 1e-15  # of Fisher diagonals and of ℓ^λ, as published


class SFRonParams(UnlearnParams):
    """Options beside the loop's. The numbers are the published ones for a tenth of CIFAR-10.

    Ten epochs are about the published 1,500 steps there.

    ascent: c, by which the ascent's loss is multiplied in the first step.
    balance: λ; 0 weighs all images alike.
    threshold: γ.
    every: steps from one ascent to the next.
    largest_norm: to which the ascent's gradient is clipped.
    """

    ascent: Annotated[float, Field(ge=0)] = 25.0
    balance: Annotated[float, Field(ge=0)] = 0.5
    threshold: Annotated[float, Field(gt=0)] = 1.0
    every: Positive = 5
    largest_norm: Annotated[float, Field(gt=0)] = 7.0


def balanced_loss(losses_B: Tensor, balance: float) -> Tensor:
    """Σ w_i ℓ_i with w_i ∝ ℓ_i^-λ, Σ w = 1, through which no gradient goes."""
    weights_B = 1 / (losses_B.detach().pow(balance) + FLOOR)
    return (weights_B / weights_B.sum() * losses_B).sum()


def salient(forget: Vector, retain: Vector, threshold: float) -> Vector:
    """1 where the forget set's Fisher entry is at least γ times the retain set's, else 0."""
    return [((f + FLOOR) / (r + FLOOR) >= threshold).to(f.dtype) for f, r in zip(forget, retain, strict=True)]


class Steps:
    """The steps of the training: ascents and descents, told apart by the weights of their batches, 1 and 0."""

    def __init__(self, problem: Problem, params: SFRonParams, model: nn.Module, salience: Vector) -> None:
        self.problem, self.params = problem, params
        self.parameters, self.salience = list(model.parameters()), salience
        self.total = params.epochs * math.ceil(len(problem.retain) / params.batch_size)
        self.number = 0  # of the descent that is next
        self.climbs = False  # the step at hand

    def epoch(self, number: int, generator: torch.Generator) -> Iterator[Batch]:
        """A pass over the retain set, with ascents between its batches."""
        problem, size = self.problem, self.params.batch_size
        forget = endless(problem.forget.weighted(1.0), size, problem.augment, generator)
        self.number = number * self.total // self.params.epochs
        for batch in batches(problem.retain.weighted(0.0), size, problem.augment, generator):
            if self.number % self.params.every == 0:
                self.climbs = True
                yield next(forget)
            self.climbs = False
            yield batch
            self.number += 1

    def loss(self, logits_BK: Tensor, batch: Batch) -> Tensor:
        """Of the step at hand."""
        if not self.climbs:
            return cross_entropy(logits_BK, Batch(batch.images, batch.labels, None))
        losses_B = F.cross_entropy(logits_BK, batch.labels, reduction="none")
        factor = self.params.ascent * (1 + math.cos(math.pi * self.number / self.total)) / 2
        return -factor * balanced_loss(losses_B, self.params.balance)

    def limit_gradients(self, _epoch: int) -> None:
        """Keeps an ascent to what is salient, and to the largest norm; a descent is free."""
        if not self.climbs:
            return
        for parameter, salience in zip(self.parameters, self.salience, strict=True):
            if parameter.grad is not None:
                parameter.grad.mul_(salience)
        torch.nn.utils.clip_grad_norm_(self.parameters, self.params.largest_norm)


def sfron(
    problem: Problem, params: SFRonParams, generator: torch.Generator, on_epoch: OnEpoch | None = None
) -> nn.Module:
    """Alternates ascents on the forget set and descents on the retain set."""
    model = copy.deepcopy(problem.model)
    steps = Steps(problem, params, model, salient(*_importances(problem, params), params.threshold))
    return fit(
        model,
        lambda epoch: steps.epoch(epoch, generator),
        params,
        generator,
        loss=steps.loss,
        on_gradient=steps.limit_gradients,
        epoch_facts=gradient_probe(model, problem, params),
        on_epoch=on_epoch,
        callbacks=problem.callbacks,
    )


def _importances(problem: Problem, params: SFRonParams) -> tuple[Vector, Vector]:
    """Fisher diagonals on forget and retain set, plain images, in eval mode; the same for all trials of a search."""

    def importance(images: Images) -> Vector:
        model = copy.deepcopy(problem.model).eval()
        passes = plain_batches(images, params.batch_size, problem.augment)
        return batch_fisher(model, list(model.parameters()), passes)

    key = ("sfron", params.batch_size)
    return problem.once(key, lambda: (importance(problem.forget), importance(problem.retain)))


def _space(_arch: str) -> dict[str, Range]:
    # single settings are published: FT's rates, and about a decade around c
    return {"lr": Range(1e-3, 1e-1), "ascent": Range(3.0, 300.0)}


METHOD = Method(
    "sfron",
    "SFRon",
    SFRonParams,
    _space,
    sfron,
    passes=lambda p, forget, retain: forget + retain + p["epochs"] * retain * (1 + 1 / p["every"]),
)
