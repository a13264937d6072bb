"""l1-sparse: fine-tune on the retained data under a fading L1 penalty (Jia et al. 2023)."""

from __future__ import annotations

import copy
from typing import Annotated

from pydantic import Field

from core import quant
from core.data import batches
from core.lazy import nn, torch
from core.train import OnEpoch, fit
from core.unlearn.base import Method, Problem, Range, UnlearnParams
from core.unlearn.gradient_norms import gradient_probe
from core.unlearn.parameters import normalisation_parameters
from core.unlearn.passes import retain_set


class L1Params(UnlearnParams):
    """Options beside the loop's.

    alpha: weight of the penalty in the first epoch.
    final_epochs_without: epochs at the end that have no penalty.
    penalise_quantizers: whether steps and offsets are penalised too (they are in the published code,
    which shrinks every quantization step).
    penalise_norms: whether scales and biases of normalisation layers are penalised (in the equation and in
    the published code they are).
    """

    alpha: Annotated[float, Field(ge=0)] = 1e-5
    final_epochs_without: Annotated[int, Field(ge=0)] = 0
    penalise_quantizers: bool = False
    penalise_norms: bool = True


def penalty_weight(alpha: float, epoch: int, epochs: int, final_epochs_without: int = 0) -> float:
    """The penalty's weight in an epoch: falls linearly from alpha, and is 0 in the final epochs without."""
    penalised = epochs - final_epochs_without
    return alpha * (1 - epoch / penalised) if epoch < penalised else 0.0


def l1_sparse(
    problem: Problem, params: L1Params, generator: torch.Generator, on_epoch: OnEpoch | None = None
) -> nn.Module:
    """FT whose loss has α_e · ||θ||₁ added; nothing is pruned, weights only shrink towards zero."""
    model = copy.deepcopy(problem.model)
    penalised = _penalised(model, params)

    def add_penalty_gradient(epoch: int) -> None:
        weight = penalty_weight(params.alpha, epoch, params.epochs, params.final_epochs_without)
        if weight == 0:
            return
        for p in penalised:
            if p.grad is not None:
                p.grad.add_(p.detach().sign(), alpha=weight)  # d|θ|/dθ, taken as 0 at exactly 0

    return fit(
        model,
        lambda _epoch: batches(problem.retain, params.batch_size, problem.augment, generator),
        params,
        generator,
        on_gradient=add_penalty_gradient,
        epoch_facts=gradient_probe(model, problem, params),
        callbacks=problem.callbacks,
        on_epoch=on_epoch,
    )


def _penalised(model: nn.Module, params: L1Params) -> list[nn.Parameter]:
    quantizers = set() if params.penalise_quantizers else quant.quantizer_parameters(model)
    norms = set() if params.penalise_norms else normalisation_parameters(model)
    return [p for name, p in model.named_parameters() if name not in quantizers | norms]


def _space(_arch: str) -> dict[str, Range]:
    return {"lr": Range(1e-3, 1e-1), "alpha": Range(1e-6, 1e-4)}


METHOD = Method(
    "l1_sparse",
    "l1-sparse",
    L1Params,
    _space,
    l1_sparse,
    released={"penalise_quantizers": True, "decay_quantizers": True},
    passes=retain_set,
)
