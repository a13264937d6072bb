"""Logistic regressions that images can be taken out of: the minimum, a Newton step, and bounds on what is left.

Guo et al. 2020, with the bounds of the published code.
"""

from __future__ import annotations

import math

from core.errors import Diverged
from core.lazy import F, Tensor, no_grad, torch

GAMMA = (
    0.25  # Lipschitz constant of the logistic loss's second derivative, as published; 1/(6√3) is the least
)
_EXACT, _MOST = 1e-9, 100  # a fit's mean gradient at its end, and its Newton steps at most
_ROUNDING = 1e-12  # of a loss; near its minimum a step changes it by less


def budget(epsilon: float, delta: float, sigma: float) -> float:
    """The sum of residual bounds up to which (ε, δ) holds: σ ε / c with c = √(2 ln(1.5 / δ))."""
    return sigma * epsilon / math.sqrt(2 * math.log(1.5 / delta))


@no_grad
def newton_step(
    features_ND: Tensor,
    targets_N: Tensor,
    weights_D: Tensor,
    removed_M: Tensor,
    decay: float,
    noise_D: Tensor | None = None,
) -> tuple[Tensor, float]:
    """Takes rows out of a logistic regression by one Newton step.

    The loss is Σ log(1 + exp(-y wᵀx)) + (decay n / 2) ‖w‖² + noiseᵀw, n the rows that it is over. At its minimum the
    step is w + H⁻¹(decay m w + Σ_removed ∇ℓ), H the Hessian without the removed rows.

    Args:
        features_ND: rows of length at most 1 for a bound that means anything.
        targets_N: -1 or 1.
        weights_D: minimum over all rows.
        removed_M: positions of the removed rows.
        decay: λ. noise_D: b; None for none.

    Returns: the new weights, in the type of the old ones, and the bound γ ‖X'‖₂ ‖Δ‖ ‖X'Δ‖ on the norm of the
    gradient that is left there, Δ the step and X' the rows that stay.
    """
    stay_N = torch.ones(len(features_ND), dtype=torch.bool, device=features_ND.device)
    stay_N[removed_M] = False
    x, y, w = features_ND[stay_N].double(), targets_N[stay_N].double(), weights_D.double()
    gradient, hessian = _derivatives(x, y, w, decay, None if noise_D is None else noise_D.double())
    step = -torch.linalg.solve(hessian, gradient)
    largest = torch.linalg.eigvalsh(x.T @ x)[-1].clamp(min=0).sqrt()  # the spectral norm of X', exactly
    bound = GAMMA * largest * step.norm() * (x @ step).norm()
    return (w + step).to(weights_D.dtype), float(bound)


def worst_case(images: int, removed: int, decay: float) -> float:
    """The bound that holds before anything is computed: 4 γ m² / (λ² (n - m)), for rows of length at most 1."""
    return 4 * GAMMA * removed**2 / (decay**2 * (images - removed))


def _derivatives(
    x: Tensor, y: Tensor, w: Tensor, decay: float, noise: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Gradient and Hessian of the loss."""
    right = torch.sigmoid(y * (x @ w))
    gradient = x.T @ ((right - 1) * y) + decay * len(x) * w
    hessian = x.T @ ((right * (1 - right))[:, None] * x)
    hessian.diagonal().add_(decay * len(x))
    return gradient if noise is None else gradient + noise, hessian


@no_grad
def fit_head(features_ND: Tensor, targets_N: Tensor, decay: float, noise_D: Tensor) -> Tensor:
    """The minimum of `newton_step`'s loss over all rows, double D, by Newton's method with shorter steps where needed.

    Raises Diverged if it is not found.
    """
    x, y, noise = features_ND.double(), targets_N.double(), noise_D.double()

    def loss(w: Tensor) -> Tensor:
        return F.softplus(-y * (x @ w)).sum() + decay * len(x) / 2 * w.square().sum() + noise @ w

    w = torch.zeros_like(noise)
    for _ in range(_MOST):
        gradient, hessian = _derivatives(x, y, w, decay, noise)
        if float(gradient.norm()) <= _EXACT * len(x):
            return w
        step, length, now = torch.linalg.solve(hessian, gradient), 1.0, loss(w)
        while length > _EXACT and bool(loss(w - length * step) > now + _ROUNDING * now.abs()):
            length /= 2
        w = w - length * step
    raise Diverged("the head's regression has not come to its minimum")
