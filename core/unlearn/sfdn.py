"""Fisher forgetting (SFDN): noise where the retained data leave room for it (Golatkar et al. 2020a).

θ ← θ + √v ⊙ ε,   v = α / F,   ε ~ N(0, 1),
F the diagonal of the Fisher matrix on the retain set, E_x Σ_y p_y (∂ -log p_y / ∂θ)². Whatever the retained data do
not pin down is blurred, and with it, one hopes, what came from the others. One edit, no training: what the noise breaks
stays broken. Quantizers' steps stay, so that noise below half a step changes no integer weight.
"""

from __future__ import annotations

import copy
from typing import Annotated

from pydantic import Field

from core import quant
from core.data import plain_batches
from core.lazy import Tensor, nn, no_grad, torch
from core.train import OnEpoch, Params
from core.unlearn.base import Method, Problem, Range
from core.unlearn.fisher import expected_losses, sampled_fisher
from core.unlearn.parameters import Vector, moved_parameters

RENEWED_VARIANCE = 1e-4  # of the classifier's row of a forgotten class, as published


class SFDNParams(Params):
    """Options.

    alpha: the noise's variance at a Fisher entry of 1.
    draws: of signs for each batch behind F, see `sampled_fisher`. The published code goes through images one
    by one and label by label, which is exact and takes hundreds of times as long.
    largest, largest_last: bounds of 1 / F, the second in the classifier, both as published. Without them an
    entry that no retained image depends on (F = 0) would get noise of any size.
    renew_rows: where whole classes are forgotten, draw their rows of the classifier anew around 0, as published.
    smooth: average the variance over a weight's second dimension, the input channels.
    boost: factor of the variance in the classifier, in biases and in normalisation layers.
    move_quantizers: blur steps and offsets of quantizers too, as published code would.
    """

    alpha: Annotated[float, Field(ge=0)] = 3e-6
    draws: Annotated[int, Field(ge=1)] = 4
    largest: Annotated[float, Field(gt=0)] = 1e3
    largest_last: Annotated[float, Field(gt=0)] = 1e2
    renew_rows: bool = True
    smooth: bool = False
    boost: Annotated[float, Field(gt=0)] = 1.0
    move_quantizers: bool = False


def sfdn(
    problem: Problem, params: SFDNParams, generator: torch.Generator, on_epoch: OnEpoch | None = None
) -> nn.Module:
    """One edit in eval mode, from a pass over the retain set; of the forget set it reads nothing.

    Tells `noise_norm`, the L2 norm of the whole change.
    """
    model = copy.deepcopy(problem.model).eval()
    named = moved_parameters(model, params.move_quantizers)
    seed = int(torch.randint(2**62, (), generator=generator))
    # everything but the noise is the same for all trials of a search
    key = ("sfdn", params.batch_size, params.draws, params.move_quantizers, seed)
    fisher = problem.once(key, lambda: _fisher(problem, params, model, list(named.values()), seed))
    last = _classifier(model)
    lost = problem.lost_classes() if params.renew_rows else []
    squares = [
        _blur_(p, f, params, generator, name in last, lost)
        for (name, p), f in zip(named.items(), fisher, strict=True)
    ]
    quant.keep_valid_(model)
    if on_epoch is not None:
        on_epoch(0, {"noise_norm": float(torch.stack(squares).sum().sqrt())})
    return model


def _fisher(problem: Problem, params: SFDNParams, model: nn.Module, moved: Vector, seed: int) -> Vector:
    passes = plain_batches(problem.retain, params.batch_size, problem.augment)
    own = torch.Generator().manual_seed(seed)
    return sampled_fisher(model, moved, passes, expected_losses, own, params.draws)


def _classifier(model: nn.Module) -> set[str]:
    """Names of the last linear layer's weight and bias."""
    *_, last = (name for name, m in model.named_modules() if isinstance(m, nn.Linear))
    return {f"{last}.weight", f"{last}.bias"}


def noise_variance(fisher: Tensor, params: SFDNParams, last: bool) -> Tensor:
    """v of one parameter tensor, of its shape; last: it is the classifier's."""
    largest = min(params.largest, params.largest_last) if last else params.largest
    variance = params.alpha * (1 / (fisher + 1e-8)).clamp(max=largest)
    if params.smooth and variance.dim() > 1:
        variance = variance.mean(1, keepdim=True).expand_as(variance)
    return variance * params.boost if last or variance.dim() < 2 else variance


@no_grad
def _blur_(
    p: Tensor, fisher: Tensor, params: SFDNParams, generator: torch.Generator, last: bool, lost: list[int]
) -> Tensor:
    """Adds the noise to one parameter, in place; returns the square of the change's norm."""
    variance, mean = noise_variance(fisher, params, last).clone(), p.clone()
    if last and lost:
        variance[lost] = RENEWED_VARIANCE * params.boost
        mean[lost] = 0
    blurred = mean + variance.sqrt() * torch.randn(p.shape, generator=generator).to(p)
    change = (blurred - p).square().sum()
    p.copy_(blurred)
    return change


# The source names 1e-6 and 3e-6 and no range: about a decade to either side.
METHOD = Method(
    "sfdn",
    "SFDN",
    SFDNParams,
    lambda _arch: {"alpha": Range(1e-7, 1e-5)},
    sfdn,
    released={"smooth": True, "boost": 10.0, "move_quantizers": True},
    passes=lambda p, _forget, retain: p["draws"] * retain,
)
