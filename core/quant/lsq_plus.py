"""LSQ+: learned step and offset (Bhalgat et al. 2020), weights symmetric, activations with an offset.

Forward  xq = s · round(clamp((x - β) / s, qmin, qmax)) + β, rounding half to even.
Backward (LSQ, Esser et al. 2020, eq. 3 and 5, and LSQ+ eq. 5), v = (x - β) / s:
    ∂xq/∂x = 1 inside [qmin, qmax], else 0
    ∂xq/∂s = round(v) - v inside, else the code; times g
    ∂xq/∂β = 0 inside, 1 outside; times g
"""

import math
from typing import Any

import torch
from torch import Tensor, nn

from core.quant.base import SMALLEST_STEP, FakeQuantizer


def lsq_plus(
    x: Tensor, step: Tensor, offset: Tensor | None, qmin: int, qmax: int, grad_scale: float
) -> Tensor:
    """Fake-quantizes x.

    Args:
        x: any shape, floating point. Arithmetic is float32 for narrower types.
        step: positive; one element, or broadcastable to x (per channel).
        offset: same shape as step, or None for a symmetric quantizer.
        qmin, qmax: integer range; v equal to a bound counts as inside.
        grad_scale: factor g on the gradients of step and offset, usually 1/sqrt(N · qmax).

    Returns: a tensor of x's shape and dtype with at most qmax - qmin + 1 values per step.
    """
    out: Tensor = _LSQPlus.apply(x, step, offset, qmin, qmax, grad_scale)
    return out


def _forward(x: Tensor, step: Tensor, offset: Tensor | None, qmin: int, qmax: int) -> Tensor:
    """The forward formula; in place after the first operation, because it is bound by memory traffic."""
    if offset is None:
        return x.div(step).clamp_(qmin, qmax).round_().mul_(step)
    return (x - offset).div_(step).clamp_(qmin, qmax).round_().mul_(step).add_(offset)


def _wide(x: Tensor) -> Tensor:
    return x if x.dtype in (torch.float32, torch.float64) else x.float()


class _LSQPlus(torch.autograd.Function):
    """One fused forward and one fused backward; keeps only its input and its output.

    With c the code, gx the gradient that passes inside, and outside codes equal to a bound, the closed
    forms sum to  ∂s = g/s · (Σ grad·(xq - β) - Σ gx·(x - β))  and  ∂β = g · (Σ grad - Σ gx): inner
    products instead of elementwise masks. Every operation in backward is linear in the incoming gradient
    and differentiable, which `core.unlearn.influence` needs for Jacobian-vector products.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, step: Tensor, offset: Tensor | None, qmin: int, qmax: int, grad_scale: float
    ) -> Tensor:
        out = _forward(_wide(x), step, offset, qmin, qmax).to(x.dtype)
        ctx.save_for_backward(x, out, step, offset)
        ctx.constants = (qmin, qmax, grad_scale)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        x, out, step, offset = ctx.saved_tensors
        qmin, qmax, grad_scale = ctx.constants
        grad, wide = _wide(grads[0]), _wide(x)
        if out.dtype != wide.dtype:  # a bf16 output lost bits that the step's gradient needs
            out = _forward(wide, step, offset, qmin, qmax)
        shift = torch.zeros_like(step) if offset is None else offset
        passed = _pass_inside(grad, wide, step * qmin + shift, step * qmax + shift)
        along_step = _inner(grad, out, step) - _inner(passed, wide, step)
        if offset is None:
            return passed.to(x.dtype), along_step * (grad_scale / step), None, None, None, None
        clipped = _total(grad, step) - _total(passed, step)
        along_step = along_step - offset * clipped
        return passed.to(x.dtype), along_step * (grad_scale / step), clipped * grad_scale, None, None, None


def _pass_inside(grad: Tensor, x: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """The gradient where low <= x <= high, zero elsewhere."""
    if x.is_cpu and low.numel() == 1 and x.dtype == torch.float32:
        # One pass instead of four. The kernel excludes its bounds, so they move one float outwards.
        bounds = (
            torch.nextafter(low, low.new_tensor(-math.inf)),
            torch.nextafter(high, high.new_tensor(math.inf)),
        )
        return torch.ops.aten.hardtanh_backward(grad, x, bounds[0].item(), bounds[1].item())
    return torch.where((x >= low) & (x <= high), grad, 0.0)


def _flat(x: Tensor) -> Tensor:
    """All elements in memory order, without a copy for both usual layouts."""
    if x.dim() == 4 and x.is_contiguous(memory_format=torch.channels_last):
        return x.permute(0, 2, 3, 1).reshape(-1)
    return x.reshape(-1)


def _inner(a: Tensor, b: Tensor, like: Tensor) -> Tensor:
    """Σ a·b over the elements that share one entry of `like`, in its shape."""
    if like.numel() == 1 and a.is_cpu and a.stride() == b.stride():
        return torch.dot(_flat(a), _flat(b)).reshape(like.shape)
    return _total(a * b, like)


def _total(a: Tensor, like: Tensor) -> Tensor:
    return a.sum().reshape(like.shape) if like.numel() == 1 else a.sum_to_size(like.shape)


class LSQPlusWeight(FakeQuantizer):
    """Symmetric signed quantizer of a weight tensor; one step for the tensor, no offset."""

    def __init__(self, bits: int) -> None:
        super().__init__(bits, signed=True)
        self.step = nn.Parameter(torch.ones(()))

    def codes(self, x: Tensor) -> Tensor:
        """Integer codes of the weights, int32 in [-2^(b-1), 2^(b-1)-1]."""
        return (x / self.step).clamp(self.qmin, self.qmax).round().int()

    def steps(self) -> list[nn.Parameter]:
        """The step."""
        return [self.step]

    def _start(self, x: Tensor) -> None:
        # LSQ+ section 4: s = max(|μ-3σ|, |μ+3σ|) / 2^(b-1). (Public code also divides by 2^b - 1 or 2^b.)
        mean, spread = x.mean(), 3 * x.std(correction=0)
        widest = torch.maximum((mean - spread).abs(), (mean + spread).abs())
        self.step.data.copy_((widest / 2 ** (self.bits - 1)).clamp(min=SMALLEST_STEP))

    def _quantize(self, x: Tensor) -> Tensor:
        return lsq_plus(x, self.step, None, self.qmin, self.qmax, 1 / math.sqrt(x.numel() * self.qmax))


class LSQPlusActivation(FakeQuantizer):
    """Asymmetric quantizer of a layer's input: unsigned codes, learned step and offset."""

    def __init__(self, bits: int) -> None:
        super().__init__(bits, signed=False)
        self.step = nn.Parameter(torch.ones(()))
        self.offset = nn.Parameter(torch.zeros(()))

    def codes(self, x: Tensor) -> Tensor:
        """Integer codes of the activations, int32 in [0, 2^b-1]."""
        return ((x - self.offset) / self.step).clamp(self.qmin, self.qmax).round().int()

    def steps(self) -> list[nn.Parameter]:
        """The step; the offset may take any value."""
        return [self.step]

    def _start(self, x: Tensor) -> None:
        step, offset = least_squares_start(x.float(), self.qmin, self.qmax)
        self.step.data.copy_(step)
        self.offset.data.copy_(offset)

    def _quantize(self, x: Tensor) -> Tensor:
        features = x[0].numel()  # LSQ's N: features of one sample, so that g does not depend on the batch
        return lsq_plus(x, self.step, self.offset, self.qmin, self.qmax, 1 / math.sqrt(features * self.qmax))


def least_squares_start(x: Tensor, qmin: int, qmax: int) -> tuple[Tensor, Tensor]:
    """Step and offset for x: from its minimum and maximum, then the shrunken range of least squared error.

    LSQ+ section 4 minimises ||xq - x||²; here over 40 shrink factors of the range, on at most 2^16 elements
    evenly spread over x, so the result is never worse than min/max on those. Returns two scalars.
    """
    flat = x.flatten()
    flat = flat[:: max(1, flat.numel() // 2**16)]
    low = flat.min()
    high = torch.where(
        flat.max() > low, flat.max(), low + 1
    )  # constant data still gets a step that can learn
    best: tuple[Tensor, Tensor, Tensor] | None = None
    for shrink in torch.linspace(1.0, 0.025, 40).tolist():
        step = ((high - low) * shrink / (qmax - qmin)).clamp(min=SMALLEST_STEP)
        centre = low if bool(low >= 0) else low * shrink  # data that starts at zero keeps an exact zero
        offset = centre - qmin * step
        error = (_forward(flat, step, offset, qmin, qmax) - flat).square().mean()
        if best is None or bool(error < best[0]):
            best = (error, step, offset)
    assert best is not None
    return best[1], best[2]
