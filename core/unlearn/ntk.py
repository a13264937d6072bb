"""NTK-F: what training on the retain set alone would have changed, if the network were linear (Golatkar et al. 2020b).

In the linearised network f(w) + J δ the minimum over a set S lies at δ(S) = -(JᵀHJ + λI)⁻¹ (Jᵀ(p - y) + λ w), means
over S, H the curvature of the loss by the logits. θ ← θ + s · (δ(D_r) - δ(D)), s a scale. Deliberate deviations: the
published code forms J for 500 images and inverts; here conjugate gradients work with products by J. It takes the
residuals of cross-entropy and the curvature of a squared loss; here H = diag(p) - ppᵀ (Gauss-Newton) unless
curvature=identity asks for that reading. Weights decay towards 0, as these networks were trained, not towards where
they began. Left out: the Fisher noise that may follow, and the scale that needs the network before its training.

On images that a network knows by heart p = y, so that little is left to move.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Annotated, Literal

from pydantic import Field

from core import quant
from core.data import Batch, Images, plain_batches
from core.errors import Diverged
from core.lazy import Tensor, nn, no_grad, torch
from core.train import OnEpoch, Params
from core.unlearn.base import Method, Problem, Range
from core.unlearn.influence import dot, gradient_sum, solve
from core.unlearn.parameters import Vector, filled, moved_parameters

Curvature = Literal["gauss_newton", "identity"]


class NTKParams(Params):
    """Options.

    scale: s; 1 is the equation's.
    curvature: of the cross-entropy, or the identity, with which the published code solves; it leaves out the decay's
    gradient too.
    decay: λ of the gradient and the system, as the original was trained. damping: added to the system alone.
    fisher_samples: retained images (the first ones) that stand for all of them.
    iterations, tolerance: bounds of the conjugate gradients; tolerance is the relative residual.
    move_quantizers: let the step move steps and offsets too.
    """

    scale: Annotated[float, Field(gt=0)] = 1.0
    curvature: Curvature = "gauss_newton"
    decay: Annotated[float, Field(ge=0)] = 5e-4
    damping: Annotated[float, Field(gt=0)] = 0.1
    fisher_samples: Annotated[int, Field(ge=1)] = 1000
    iterations: Annotated[int, Field(ge=1)] = 25
    tolerance: Annotated[float, Field(gt=0)] = 1e-3
    move_quantizers: bool = False


def linear_update(
    jacobian_f: Tensor, jacobian_r: Tensor, residual_f: Tensor, residual_r: Tensor, decay: float
) -> Tensor:
    """δ(D_r) - δ(D) of a small linear problem with squared loss, P.

    δ(S) = -(J_SᵀJ_S + decay · I)⁻¹ J_Sᵀ r_S minimises ½ ‖r_S + J_S δ‖² + decay / 2 ‖δ‖².

    Args:
        jacobian_f, jacobian_r: of the outputs on images to forget and to retain, rows x P.
        residual_f, residual_r: outputs minus targets where the network is linearised.
        decay: of either minimum.
    """

    def minimum(jacobian: Tensor, residual: Tensor) -> Tensor:
        system = jacobian.T @ jacobian + decay * torch.eye(jacobian.shape[1]).to(jacobian)
        return -torch.linalg.solve(system, jacobian.T @ residual)

    both = torch.cat([jacobian_f, jacobian_r]), torch.cat([residual_f, residual_r])
    return minimum(jacobian_r, residual_r) - minimum(*both)


def ntk(
    problem: Problem,
    params: NTKParams,
    generator: torch.Generator,  # noqa: ARG001  (nothing is drawn)
    on_epoch: OnEpoch | None = None,
) -> nn.Module:
    """One edit, in eval mode throughout."""
    model = copy.deepcopy(problem.model).eval()
    moved: Vector = list(moved_parameters(model, params.move_quantizers).values())
    # everything but the scale is the same for all trials of a search
    key = ("ntk", params.model_dump_json(exclude={"scale"}))
    update = problem.once(key, lambda: _update(problem, params, model, moved))
    _apply(model, moved, update, params.scale)
    if on_epoch is not None:
        on_epoch(0, {"update_norm": params.scale * float(torch.sqrt(dot(update, update)))})
    return model


@no_grad
def _apply(model: nn.Module, moved: Vector, update: Vector, scale: float) -> None:
    if not all(bool(torch.isfinite(u).all()) for u in update):
        raise Diverged("the linearised update is not finite")
    torch._foreach_add_(moved, update, alpha=scale)
    quant.keep_valid_(model)


def _update(problem: Problem, params: NTKParams, model: nn.Module, moved: Vector) -> Vector:
    """δ(D_r) - δ(D)."""
    sample = problem.retain.select(torch.arange(min(params.fisher_samples, len(problem.retain))))
    share = len(problem.forget) / (len(problem.forget) + len(problem.retain))

    def passes(images: Images) -> Callable[[], Iterator[Batch]]:
        return lambda: plain_batches(images, params.batch_size, problem.augment)

    retain, forget = passes(sample), passes(problem.forget)
    alone = minimum(model, moved, params, [(1.0, retain)])
    both = minimum(model, moved, params, [(1 - share, retain), (share, forget)])
    return [a - b for a, b in zip(alone, both, strict=True)]


Weighted = list[tuple[float, Callable[[], Iterator[Batch]]]]  # sets of images with their shares


def minimum(model: nn.Module, moved: Vector, params: NTKParams, sets: Weighted) -> Vector:
    """δ of a mixture of sets: where the linearised loss has its minimum, seen from the model."""
    gradient = [torch.zeros_like(p) for p in moved]
    for share, passes in sets:
        count = sum(len(batch.labels) for batch in passes())
        torch._foreach_add_(gradient, gradient_sum(model, moved, passes()), alpha=share / count)
    if params.curvature == "gauss_newton":
        torch._foreach_add_(gradient, [p.detach() for p in moved], alpha=params.decay)

    def product(direction: Vector) -> Vector:
        total = [torch.zeros_like(p) for p in moved]
        for share, passes in sets:
            part = curvature_product(model, moved, direction, passes(), params.curvature)
            torch._foreach_add_(total, part, alpha=share)
        return total

    system = params.decay + params.damping
    found = solve(product, gradient, system, params.iterations, params.tolerance)
    return [-x for x in found]


def curvature_product(
    model: nn.Module, moved: Vector, direction: Vector, passes: Iterator[Batch], curvature: Curvature
) -> Vector:
    """The mean of JᵀHJ over images, times a direction, without forming J."""
    total, count = [torch.zeros_like(p) for p in moved], 0
    for batch in passes:
        logits_BK = model(batch.images)
        along_BK = _along(logits_BK, moved, direction)
        if curvature == "gauss_newton":
            p_BK = logits_BK.detach().softmax(1)
            along_BK = p_BK * (along_BK - (p_BK * along_BK).sum(1, keepdim=True))
        grads = torch.autograd.grad(logits_BK, moved, along_BK, allow_unused=True)
        torch._foreach_add_(total, filled(grads, moved))
        count += len(batch.labels)
    torch._foreach_div_(total, float(count))
    return total


def _along(logits_BK: Tensor, moved: Vector, direction: Vector) -> Tensor:
    """J d: Jᵀu is linear in u, so its derivative by u along d."""
    u_BK = torch.zeros_like(logits_BK, requires_grad=True)
    grads = filled(torch.autograd.grad(logits_BK, moved, u_BK, create_graph=True, allow_unused=True), moved)
    product = torch.stack([(g * d).sum() for g, d in zip(grads, direction, strict=True)]).sum()
    return torch.autograd.grad(product, u_BK, retain_graph=True)[0].detach()


METHOD = Method(
    "ntk",
    "NTK-F",
    NTKParams,
    lambda _arch: {"scale": Range(0.25, 4.0)},  # around the equation's 1; the source fits one afterwards
    ntk,
    passes=lambda p, forget, retain: (
        2 * p["iterations"] * 3 * (min(p["fisher_samples"], retain) + forget / 2)
    ),
)
