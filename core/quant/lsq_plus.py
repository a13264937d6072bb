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

from core.quant.base import SMALLEST_STEP, FakeQuantizer, Shape, shared_dims, weight_grad_scale
from core.quant.codes import Codes, carrier_of, decode, encode, straight_through
from core.quant.device import alike, fake_quantize, kernels, zero_like
from core.quant.fused import inner, narrowed, pass_inside, round_to_grid, total, wide


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
    out: Tensor = _LSQPlus.apply(x, step, offset, qmin, qmax, grad_scale, None)
    return out


def lsq_plus_codes(
    x: Tensor,
    step: Tensor,
    offset: Tensor | None,
    qmin: int,
    qmax: int,
    grad_scale: float,
    dtype: torch.dtype,
) -> Codes | None:
    """The codes of what `lsq_plus` gives, with the same gradients; None if x has a NaN.

    dtype: int8, or uint8, whose codes start at 0.
    """
    shift = qmin if dtype == torch.uint8 else 0
    codes = encode(x, step, offset, qmin, qmax, shift, dtype)
    if codes is None:
        return None
    found = Codes(carrier_of(x), codes, shift, step, offset)
    return found._replace(carrier=_LSQPlus.apply(x, step, offset, qmin, qmax, grad_scale, found))


class _LSQPlus(torch.autograd.Function):
    """One fused forward and one fused backward; keeps only its input and its output, or the codes of that.

    With c the code, gx the gradient that passes inside, and outside codes equal to a bound, the closed
    forms sum to  ∂s = g/s · (Σ grad·(xq - β) - Σ gx·(x - β))  and  ∂β = g · (Σ grad - Σ gx): inner
    products instead of elementwise masks. Every operation in backward is linear in the incoming gradient
    and differentiable, which `core.unlearn.influence` needs for Jacobian-vector products; the kernels, which
    are not, serve where nobody differentiates further.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        step: Tensor,
        offset: Tensor | None,
        qmin: int,
        qmax: int,
        grad_scale: float,
        codes: Codes | None,
    ) -> Tensor:
        out = fake_quantize(x, step, offset, qmin, qmax) if codes is None else codes.carrier
        ctx.save_for_backward(x, out if codes is None else codes.codes, step, offset)
        ctx.constants = (qmin, qmax, grad_scale)
        ctx.shift = None if codes is None else codes.shift
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        x, out, step, offset = ctx.saved_tensors
        qmin, qmax, grad_scale = ctx.constants
        if ctx.shift is not None:
            codes = Codes(out, out, ctx.shift, step, offset)
            if step.numel() == 1 and not torch.is_grad_enabled():
                low, high = _ends(step, offset, qmin, qmax)
                passed, along, outside = straight_through(alike(grads[0], x), x, codes, low, high)
                return passed, *_of_grid(along, outside, step, offset, grad_scale)
            out = decode(codes, torch.float32)
        found = None if torch.is_grad_enabled() else kernels(x, step)
        if found is not None:
            shift = zero_like(step) if offset is None else offset
            passed, along_step, clipped = found.backward(
                "lsq", alike(grads[0], x), x, step, shift, qmin, qmax
            )
            return passed, *_of_grid(along_step, clipped, step, offset, grad_scale)
        grad, x_wide = wide(grads[0]), wide(x)
        if out.dtype != x_wide.dtype:  # a bf16 output lost bits that the step's gradient needs
            out = round_to_grid(x_wide, step, offset, qmin, qmax)
        passed = pass_inside(grad, x_wide, *_ends(step, offset, qmin, qmax))
        along_step = inner(grad, out, step) - inner(passed, x_wide, step)
        clipped = None if offset is None else total(grad, step) - total(passed, step)
        return narrowed(passed, x.dtype), *_of_grid(along_step, clipped, step, offset, grad_scale)


def _ends(step: Tensor, offset: Tensor | None, qmin: int, qmax: int) -> tuple[Tensor, Tensor]:
    """The values of the smallest and of the largest code."""
    shift = torch.zeros_like(step) if offset is None else offset
    return step * qmin + shift, step * qmax + shift


def _of_grid(
    along_step: Tensor, clipped: Tensor | None, step: Tensor, offset: Tensor | None, grad_scale: float
) -> tuple[Tensor, Tensor | None, None, None, None, None]:
    """The gradients of step, offset and the constants, from the sums over all elements."""
    if offset is None or clipped is None:
        return along_step * (grad_scale / step), None, None, None, None, None
    along_step = along_step - offset * clipped
    return along_step * (grad_scale / step), clipped * grad_scale, None, None, None, None


class LSQPlusWeight(FakeQuantizer):
    """Symmetric signed quantizer of a weight tensor, no offset; one step for the tensor, or per channel.

    `shape` is the step's: () or (C_out, 1, ...), broadcastable to the weight.
    """

    def __init__(self, bits: int, shape: Shape = ()) -> None:
        super().__init__(bits, signed=True)
        self.step = nn.Parameter(torch.ones(shape))

    def grid(self) -> tuple[Tensor, Tensor | None]:
        """The step, and no offset."""
        return self.step, None

    def steps(self) -> list[nn.Parameter]:
        """The step."""
        return [self.step]

    def _start(self, x: Tensor) -> None:
        # LSQ+ section 4: s = max(|μ-3σ|, |μ+3σ|) / 2^(b-1). (Public code also divides by 2^b - 1 or 2^b.)
        dims, kept = shared_dims(self.step.shape), self.step.dim() > 0
        mean, spread = x.mean(dims, keepdim=kept), 3 * x.std(dims, correction=0, keepdim=kept)
        widest = torch.maximum((mean - spread).abs(), (mean + spread).abs())
        self.step.data.copy_((widest / 2 ** (self.bits - 1)).clamp(min=SMALLEST_STEP))

    def _quantize(self, x: Tensor) -> Tensor:
        scale = weight_grad_scale(x, self.step.shape, self.qmax)
        return lsq_plus(x, self.step, None, self.qmin, self.qmax, scale)

    def in_bytes(self, x: Tensor) -> Codes | None:
        """As int8."""
        scale = weight_grad_scale(x, self.step.shape, self.qmax)
        return lsq_plus_codes(x, self.step, None, self.qmin, self.qmax, scale, torch.int8)


class LSQPlusActivation(FakeQuantizer):
    """Asymmetric quantizer of a layer's input: unsigned codes, learned step and offset."""

    def __init__(self, bits: int) -> None:
        super().__init__(bits, signed=False)
        self.step = nn.Parameter(torch.ones(()))
        self.offset = nn.Parameter(torch.zeros(()))

    def grid(self) -> tuple[Tensor, Tensor | None]:
        """Step and offset."""
        return self.step, self.offset

    def steps(self) -> list[nn.Parameter]:
        """The step; the offset may take any value."""
        return [self.step]

    def _start(self, x: Tensor) -> None:
        step, offset = least_squares_start(x.float(), self.qmin, self.qmax)
        self.step.data.copy_(step)
        self.offset.data.copy_(offset)

    def _quantize(self, x: Tensor) -> Tensor:
        return lsq_plus(x, self.step, self.offset, self.qmin, self.qmax, activation_grad_scale(x, self.qmax))

    def in_bytes(self, x: Tensor) -> Codes | None:
        """As uint8."""
        scale = activation_grad_scale(x, self.qmax)
        return lsq_plus_codes(x, self.step, self.offset, self.qmin, self.qmax, scale, torch.uint8)


def activation_grad_scale(x: Tensor, qmax: int) -> float:
    """LSQ's g = 1/sqrt(N · qmax), N the features of one sample, so that g does not depend on the batch."""
    return 1 / math.sqrt(x[0].numel() * qmax)


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
        error = (round_to_grid(flat, step, offset, qmin, qmax) - flat).square().mean()
        if best is None or bool(error < best[0]):
            best = (error, step, offset)
    assert best is not None
    return best[1], best[2]
