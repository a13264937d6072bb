"""DSQ: differentiable soft quantization (Gong et al. 2019), with learned ends of the range [l, u].

Δ = (u - l) / (2^b - 1), v = (x - l) / Δ, and f = v - floor(v), the place within an interval of the grid.
    Forward   xq = l + Δ · h,  h = round(clamp(v, 0, 2^b - 1)): the paper's sign of φ, half to even.
    Backward  straight through the sign, so h counts as the soft staircase
              ψ(v) = floor(v) + (φ + 1)/2,  φ = tanh(κ(f - 1/2)) / (1 - α),  κ = ln(2/α - 1):
        ∂xq/∂x = ψ'(v) = κ/(2(1 - α)) · (1 - tanh²(κ(f - 1/2))) inside [l, u], else 0
        ∂xq/∂Δ = h - v · ψ'(v) inside, else h
        ∂xq/∂u = ∂xq/∂Δ / (2^b - 1)
        ∂xq/∂l = 1 - ∂xq/∂x - ∂xq/∂u
φ is continuous from one interval to the next, and ψ' is 1 on average over an interval.

α is fixed at 0.4, as in public code. Learning it, as the paper proposes, is left out: the forward pass
does not depend on α, so its gradient is not the derivative of anything the network computes.

As in the paper, nothing scales the gradients of l and u down, as LSQ's g does. At a learning rate of 0.1 they
need `TrainParams.step_trust`: unbounded, the ranges collapse within the first epochs.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn

from core.errors import BadInput
from core.quant.base import SMALLEST_STEP, FakeQuantizer, Shape, shared_dims
from core.quant.codes import Codes, carrier_of, decode, encode
from core.quant.device import alike, fake_quantize, kernels
from core.quant.fused import inner, narrowed, pass_inside, round_to_grid, total, wide
from core.quant.lsq_plus import least_squares_start

SOFTNESS = 0.4  # α: towards 0 the staircase is hard, towards 1 it is a straight line


def dsq(x: Tensor, lower: Tensor | None, upper: Tensor | None, bits: int, alpha: float = SOFTNESS) -> Tensor:
    """Fake-quantizes x.

    Args:
        x: any shape, floating point. Arithmetic is float32 for narrower types.
        lower, upper: ends of the range; one element, or broadcastable to x (per channel).
        bits: of the codes.
        alpha: softness of the backward pass, between 0 and 1.

    Returns: a tensor of x's shape and dtype with at most 2^bits values per range.

    Raises BadInput for a range that is missing or not above its lower end; looking waits for the device,
    so the quantizers below, which keep their range valid, do not ask.
    """
    if lower is None or upper is None:
        missing = "lower and upper are" if lower is upper else f"{'lower' if lower is None else 'upper'} is"
        raise BadInput(
            f"dsq: {missing} missing; it needs both lower and upper, such as the data's least and most"
        )
    if not bool((lower < upper).all()):
        raise BadInput(f"dsq: lower {_words(lower)} is not below upper {_words(upper)}; swap or widen them")
    return _quantized(x, lower, upper, bits, alpha)


def _words(bound: Tensor) -> str:
    return f"{bound.item():g}" if bound.numel() == 1 else "(per channel)"


def _quantized(x: Tensor, lower: Tensor, upper: Tensor, bits: int, alpha: float) -> Tensor:
    out: Tensor = _DSQ.apply(x, lower, upper, 2**bits - 1, alpha, None)
    return out


def _codes(x: Tensor, lower: Tensor, upper: Tensor, bits: int, dtype: torch.dtype) -> Codes | None:
    """The codes of what `dsq` gives, with the same gradients, less 2^(bits - 1) as int8; None if x has a NaN."""
    top, shift = 2**bits - 1, 2 ** (bits - 1) if dtype == torch.int8 else 0
    step = ((upper - lower) / top).detach()
    codes = encode(x, step, lower, 0, top, shift, dtype)
    if codes is None:
        return None
    found = Codes(carrier_of(x), codes, shift, step, lower)
    return found._replace(carrier=_DSQ.apply(x, lower, upper, top, SOFTNESS, found))


class _DSQ(torch.autograd.Function):
    """One fused forward and one fused backward; keeps only its input and its output, or the codes of that.

    With gx the gradient that reaches x, the closed forms sum to
    ∂Δ = (Σ grad·(xq - l) - Σ gx·(x - l)) / Δ  and  ∂l + ∂u = Σ grad - Σ gx.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, lower: Tensor, upper: Tensor, top: int, alpha: float, codes: Codes | None
    ) -> Tensor:
        out = fake_quantize(x, (upper - lower) / top, lower, 0, top) if codes is None else codes.carrier
        ctx.save_for_backward(x, out if codes is None else codes.codes, lower, upper)
        ctx.constants = (top, alpha)
        ctx.shift = None if codes is None else codes.shift
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        x, out, lower, upper = ctx.saved_tensors
        top, alpha = ctx.constants
        step, found = (upper - lower) / top, None if torch.is_grad_enabled() else kernels(x, upper)
        if found is not None:
            soft = 2 * _sharpness(alpha)
            passed, along_step, gained = found.backward(
                "dsq", alike(grads[0], x), x, step, lower, 0, top, upper, soft, soft / (1 - alpha)
            )
            return passed, *_of_range(along_step, gained, step, lower, top)
        grad, x_wide = wide(grads[0]), wide(x)
        if ctx.shift is not None:
            out = decode(Codes(out, out, ctx.shift, step, lower), torch.float32)
        elif out.dtype != x_wide.dtype:  # a bf16 output lost bits that the range's gradient needs
            out = round_to_grid(x_wide, step, lower, 0, top)
        passed = pass_inside(grad, x_wide, lower, upper) * slope(x_wide, lower, step, alpha)
        gained = total(grad, step) - total(passed, step)
        along_step = inner(grad, out, step) - inner(passed, x_wide, step)
        return narrowed(passed, x.dtype), *_of_range(along_step, gained, step, lower, top)


def _of_range(
    along_step: Tensor, gained: Tensor, step: Tensor, lower: Tensor, top: int
) -> tuple[Tensor, Tensor, None, None, None]:
    """The gradients of both ends and the constants, from the sums over all elements."""
    along_upper = (along_step - lower * gained) / (step * top)
    return gained - along_upper, along_upper, None, None, None


def _sharpness(alpha: float) -> float:
    """κ."""
    return math.log(2 / alpha - 1)


@torch.no_grad()
def slope(x: Tensor, lower: Tensor, step: Tensor, alpha: float) -> Tensor:
    """ψ' at every element from lower upwards; a constant to whatever differentiates backward."""
    sharpness = _sharpness(alpha)
    f = (x - lower).div_(step).frac_()
    # 1 - tanh²(y) = 4σ(1 - σ) with σ = sigmoid(2y), which takes a tenth of tanh's time on CPUs
    sigma = f.sub_(0.5).mul_(2 * sharpness).sigmoid_()
    return sigma.sub_(sigma.square()).mul_(2 * sharpness / (1 - alpha))


class DSQQuantizer(FakeQuantizer):
    """What weights and activations share: the ends of the range, learned, in place of step and offset."""

    def __init__(self, bits: int, shape: Shape = ()) -> None:
        super().__init__(bits, signed=False)
        self.lower = nn.Parameter(torch.zeros(shape))
        self.upper = nn.Parameter(torch.ones(shape))

    def forward(self, x: Tensor) -> Tensor:
        """Fake-quantized x, same shape and dtype. Raises BadInput as long as no data set the range."""
        if not self._ready:
            raise BadInput("dsq: lower and upper are not set; call core.quant.calibrate_ with images first")
        return super().forward(x)

    def grid(self) -> tuple[Tensor, Tensor | None]:
        """(u - l)/(2^b - 1) and l."""
        return (self.upper - self.lower) / self.qmax, self.lower

    def limits(self) -> tuple[nn.Parameter, nn.Parameter] | None:
        """Both ends of the range."""
        return self.lower, self.upper

    def fault(self) -> str | None:
        """What makes the state invalid (not initialised, not finite, an empty range), or None."""
        fault = super().fault()
        if fault is None and not bool((self.lower < self.upper).all()):
            return "upper is not above lower"
        return fault

    def keep_valid_(self) -> None:
        """Lifts upper above lower by the smallest range whose step float32 can still tell from zero."""
        magnitude = torch.maximum(self.lower.abs(), self.upper.abs())
        margin = magnitude.mul(1e-6).clamp_(min=SMALLEST_STEP) * self.qmax
        self.upper.copy_(torch.maximum(self.upper, self.lower + margin))

    def _quantize(self, x: Tensor) -> Tensor:
        return _quantized(x, self.lower, self.upper, self.bits, SOFTNESS)


class DSQWeight(DSQQuantizer):
    """DSQ's quantizer of a weight tensor; one range for the tensor, or per channel."""

    def in_bytes(self, x: Tensor) -> Codes | None:
        """As int8, half of the codes below 0."""
        return _codes(x, self.lower, self.upper, self.bits, torch.int8)

    def _start(self, x: Tensor) -> None:
        # μ ± 3σ as LSQ+ has it. (Public code takes minimum and maximum, which leaves 2 bits two values.)
        dims, kept = shared_dims(self.lower.shape), self.lower.dim() > 0
        mean, spread = x.mean(dims, keepdim=kept), 3 * x.std(dims, correction=0, keepdim=kept)
        self.lower.data.copy_(mean - spread)
        self.upper.data.copy_(mean + spread)
        self.keep_valid_()


class DSQActivation(DSQQuantizer):
    """DSQ's quantizer of a layer's input; the range starts where the squared error is least."""

    def in_bytes(self, x: Tensor) -> Codes | None:
        """As uint8."""
        return _codes(x, self.lower, self.upper, self.bits, torch.uint8)

    def _start(self, x: Tensor) -> None:
        step, lower = least_squares_start(x.float(), self.qmin, self.qmax)
        self.lower.data.copy_(lower)
        self.upper.data.copy_(lower + step * self.qmax)
        self.keep_valid_()
