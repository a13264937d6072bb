"""IU: one influence-function step instead of training (Koh & Liang 2017; Izzo et al. 2021).

θ ← θ + α · (λI + F_r)⁻¹ v,   v = (n_f / n) · (mean gradient on D_f - mean gradient on D_r),
F_r the empirical Fisher of the retain set. Deliberate deviation from the published recursion: the published
"wfisher" only ever rescales one vector, so its inverse is the identity plus one rank-one term
(`variant="released"`); here the linear system is solved by conjugate gradients with exact per-sample
gradients, which is what the full recursion would converge to.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Annotated, Literal

from pydantic import Field

from core import quant
from core.data import Batch, Images, plain_batches
from core.errors import Diverged
from core.lazy import F, Tensor, nn, no_grad, torch
from core.train import OnEpoch, Params
from core.unlearn.base import Method, Problem, Range
from core.unlearn.parameters import Vector, filled, moved_parameters

RELEASED_N = 1000  # the published recursion's constant N, and about how many retain samples it reads


class IUParams(Params):
    """Options.

    alpha: length of the step.
    variant: woodfisher solves the system; released is the published rank-one recursion.
    fisher_samples: retain samples (the first ones) behind F_r.
    damping: λ; 1 is what the published recursion starts from.
    iterations, tolerance: bounds of the conjugate gradients; tolerance is the relative residual.
    augmented: measure on augmented images, as published.
    move_quantizers: let the step also move steps and offsets, as published. One step driven to zero or
    far up switches off a whole layer.
    """

    alpha: Annotated[float, Field(ge=0)] = 5.0
    variant: Literal["woodfisher", "released"] = "woodfisher"
    fisher_samples: Annotated[int, Field(ge=1)] = 1000
    damping: Annotated[float, Field(gt=0)] = 1.0
    iterations: Annotated[int, Field(ge=1)] = 25
    tolerance: Annotated[float, Field(gt=0)] = 1e-3
    augmented: bool = False
    move_quantizers: bool = False


def influence(
    problem: Problem, params: IUParams, generator: torch.Generator, on_epoch: OnEpoch | None = None
) -> nn.Module:
    """One Newton-like step away from the forget set, in eval mode throughout."""
    model = copy.deepcopy(problem.model).eval()
    moved: Vector = list(moved_parameters(model, params.move_quantizers).values())

    seed = int(torch.randint(2**62, (), generator=generator))

    def passes(images: Images) -> Iterator[Batch]:
        # every pass over a set repeats the same draws: one linear system, and samples that stay paired
        own = torch.Generator().manual_seed(seed) if params.augmented else None
        return plain_batches(images, params.batch_size, problem.augment, own)

    # everything but the step's length is the same for all trials of a search
    key = ("iu", params.model_dump_json(exclude={"alpha"}), seed)
    update = problem.once(key, lambda: _update(problem, params, model, moved, passes))
    _apply(model, moved, update, params.alpha)
    if on_epoch is not None:
        on_epoch(0, {"update_norm": params.alpha * float(torch.sqrt(dot(update, update)))})
    return model


def _update(
    problem: Problem,
    params: IUParams,
    model: nn.Module,
    moved: Vector,
    passes: Callable[[Images], Iterator[Batch]],
) -> Vector:
    """The step of length 1."""
    v = forget_direction(
        gradient_sum(model, moved, passes(problem.forget)),
        gradient_sum(model, moved, passes(problem.retain)),
        len(problem.forget),
        len(problem.retain),
    )
    sample = problem.retain.select(torch.arange(min(params.fisher_samples, len(problem.retain))))
    if params.variant == "released":
        return rank_one_update(model, moved, v, lambda: passes(sample))
    return solve(
        lambda d: fisher_product(model, moved, d, passes(sample)),
        v,
        params.damping,
        params.iterations,
        params.tolerance,
    )


@no_grad
def _apply(model: nn.Module, moved: Vector, update: Vector, alpha: float) -> None:
    if not all(bool(torch.isfinite(u).all()) for u in update):
        raise Diverged("the influence update is not finite")
    torch._foreach_add_(moved, update, alpha=alpha)
    quant.keep_valid_(model)


def forget_direction(forget_sum: Vector, retain_sum: Vector, n_forget: int, n_retain: int) -> Vector:
    """v = F/n - R · n_f / (n · n_r) from the gradient sums F and R; zero when both means are equal."""
    n = n_forget + n_retain
    return [f / n - r * (n_forget / (n * n_retain)) for f, r in zip(forget_sum, retain_sum, strict=True)]


def gradient_sum(model: nn.Module, moved: Vector, passes: Iterator[Batch]) -> Vector:
    """Sum of the per-sample cross-entropy gradients."""
    total = [torch.zeros_like(p) for p in moved]
    for batch in passes:
        loss = F.cross_entropy(model(batch.images), batch.labels, reduction="sum")
        torch._foreach_add_(total, filled(torch.autograd.grad(loss, moved, allow_unused=True), moved))
    return total


def fisher_product(model: nn.Module, moved: Vector, direction: Vector, passes: Iterator[Batch]) -> Vector:
    """(1/N) Σ_j g_j (g_j · d): the empirical Fisher times a direction, without forming any g_j alone."""
    total, count = [torch.zeros_like(p) for p in moved], 0
    for batch in passes:
        losses_B = _losses(model, batch)
        along_B = _along(losses_B, moved, direction)
        grads = torch.autograd.grad(losses_B, moved, along_B, allow_unused=True)
        torch._foreach_add_(total, filled(grads, moved))
        count += len(losses_B)
    torch._foreach_div_(total, float(count))
    return total


def per_sample_products(
    model: nn.Module, moved: Vector, direction: Vector, passes: Iterator[Batch]
) -> Tensor:
    """g_j · d for every sample j, in order."""
    return torch.cat([_along(_losses(model, batch), moved, direction) for batch in passes])


def _losses(model: nn.Module, batch: Batch) -> Tensor:
    return F.cross_entropy(model(batch.images), batch.labels, reduction="none")


def _along(losses_B: Tensor, moved: Vector, direction: Vector) -> Tensor:
    """Directional derivative of every loss: Jᵀu is linear in u, so its derivative by u along d is J d."""
    u_B = torch.zeros_like(losses_B, requires_grad=True)
    grads = filled(torch.autograd.grad(losses_B, moved, u_B, create_graph=True, allow_unused=True), moved)
    product = torch.stack([(g * d).sum() for g, d in zip(grads, direction, strict=True)]).sum()
    return torch.autograd.grad(product, u_B, retain_graph=True)[0].detach()


def dot(a: Vector, b: Vector) -> Tensor:
    """Inner product of two parameter vectors, a scalar tensor."""
    return torch.stack([(x * y).sum() for x, y in zip(a, b, strict=True)]).sum()


def solve(
    product: Callable[[Vector], Vector], v: Vector, damping: float, iterations: int, tolerance: float
) -> Vector:
    """Conjugate gradients for (damping · I + A) k = v, A given by its product with a vector, A ⪰ 0.

    Stops after `iterations`, or once the residual is at most `tolerance` times |v|.
    """
    solution = [torch.zeros_like(x) for x in v]
    residual = [x.clone() for x in v]
    direction = [x.clone() for x in v]
    size = float(dot(residual, residual))
    target = size * tolerance**2
    for _ in range(iterations):
        if size <= target or size == 0:
            break
        image = [a + damping * d for a, d in zip(product(direction), direction, strict=True)]
        length = size / float(dot(direction, image))
        torch._foreach_add_(solution, direction, alpha=length)
        torch._foreach_add_(residual, image, alpha=-length)
        size, previous = float(dot(residual, residual)), size
        direction = [r + (size / previous) * d for r, d in zip(residual, direction, strict=True)]
    return solution


def rank_one_update(
    model: nn.Module, moved: Vector, v: Vector, passes: Callable[[], Iterator[Batch]]
) -> Vector:
    """The published recursion, which needs only g_1·g_j and v·g_j because o never leaves g_1's direction.

    k ← k - (k·g_j)/(N + o·g_j) · o and o ← o - (o·g_j)/(N + o·g_j) · o, for every sample after the first,
    with o = ω g_1 and k = v - c g_1.
    """
    first = next(passes())
    one = Batch(first.images[:1], first.labels[:1], None)
    g1 = filled(torch.autograd.grad(_losses(model, one).sum(), moved, allow_unused=True), moved)
    along_g1 = per_sample_products(model, moved, g1, passes())[1:].tolist()
    along_v = per_sample_products(model, moved, v, passes())[1:].tolist()
    omega, c = 1.0, 0.0
    for a, b in zip(along_g1, along_v, strict=True):
        t = omega * a
        c += (b - c * a) / (RELEASED_N + t) * omega
        omega -= t / (RELEASED_N + t) * omega
    return [x - c * g for x, g in zip(v, g1, strict=True)]


METHOD = Method(
    "iu",
    "IU",
    IUParams,
    lambda _arch: {"alpha": Range(1.0, 20.0)},
    influence,
    released={"variant": "released", "augmented": True, "move_quantizers": True},
    passes=lambda p, forget, retain: forget + retain + 15 * min(p["fisher_samples"], retain),
)
