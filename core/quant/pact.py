"""PACT: a learned clip for activations (Choi et al. 2018), with DoReFa weights (Zhou et al. 2016).

Activations, n = 2^b - 1:
    Forward   y = clamp(x, 0, α),  xq = round(y · n/α) · α/n, rounding half to even.
    Backward  ∂xq/∂x = 1 for 0 <= x <= α, else 0;  ∂xq/∂α = 1 for x >= α, else 0.
Weights, M = max|tanh w|:
    Forward   t = tanh(w) / (2M) + 1/2,  wq = 2 · round(n·t)/n - 1.
    Backward  straight through the rounding alone: wq counts as tanh(w)/M.

Three deliberate deviations, all of which follow from what the network needs:
    * α starts at the clip of least squared error on the calibration batch. Public code starts it at 10 or 6
      and lets an extra L2 penalty bring it down; the loop here does not decay quantizers by default, and
      without decay an α beyond the data gets no gradient at all.
    * α is not in the loss. Weight decay on it is `TrainParams.decay_quantizers`.
    * Weights of linear layers are LSQ's. DoReFa gives up the scale of a weight tensor, which a normalisation
      restores, but none follows a classifier: with weights spread over [-1, 1] its logits and every gradient
      are several times too large, and at a learning rate of 0.1 nothing trains. (DoReFa itself keeps the
      last layer in full precision, which is `ends="full_precision"`.)

The clip below zero stands for the ReLU in front of it. The network's normalised images are not clipped (see
`QuantizerPair.quantizes_images`); the signed outputs of MobileNetV2's linear bottlenecks and of the published
blocks are, as if another ReLU followed them.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn

from core.quant.base import SMALLEST_STEP, FakeQuantizer, Shape, shared_dims
from core.quant.codes import Codes, carrier_of, encode
from core.quant.device import alike, fake_quantize, kernels, zero_like
from core.quant.fused import narrowed, one_pass, pass_inside, total, wide
from core.quant.lsq_plus import least_squares_start

SMALLEST_MAXIMUM = 1e-12  # of |tanh w|: weights that are all zero are divided by this


def pact(x: Tensor, alpha: Tensor, bits: int) -> Tensor:
    """Clips x to [0, α] and quantizes it to 2^bits evenly spaced values.

    Args:
        x: any shape, floating point. Arithmetic is float32 for narrower types.
        alpha: the clip, positive, one element.
        bits: of the codes.

    Returns: a tensor of x's shape and dtype.
    """
    out: Tensor = _PACT.apply(x, alpha, 2**bits - 1, None)
    return out


class _PACT(torch.autograd.Function):
    """Keeps its input alone: neither gradient needs the output."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, alpha: Tensor, top: int, carrier: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, alpha)
        ctx.top = top
        return fake_quantize(x, alpha / top, None, 0, top) if carrier is None else carrier

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        x, alpha = ctx.saved_tensors
        found = None if torch.is_grad_enabled() else kernels(x, alpha)
        if found is not None:
            grad, step, top = alike(grads[0], x), alpha / ctx.top, ctx.top
            passed, above, _ = found.backward("pact", grad, x, step, zero_like(step), 0, top, alpha)
            return passed, above, None, None
        grad, x_wide = wide(grads[0]), wide(x)
        passed = pass_inside(grad, x_wide, torch.zeros_like(alpha), alpha)
        return narrowed(passed, x.dtype), total(_pass_above(grad, x_wide, alpha), alpha), None, None


def _pass_above(grad: Tensor, x: Tensor, low: Tensor) -> Tensor:
    """The gradient where x >= low, zero elsewhere."""
    if one_pass(x):
        # One pass instead of two; the kernel excludes its threshold.
        below = torch.nextafter(low, low.new_tensor(-math.inf))
        return torch.ops.aten.threshold_backward(grad, x, below.item())
    return torch.where(x >= low, grad, 0.0)


def dorefa_weight(w: Tensor, bits: int, shape: Shape = ()) -> Tensor:
    """DoReFa weights: 2^bits values evenly spaced over [-1, 1], whatever the scale of w.

    There is no zero among them, and the scale is lost: they belong in front of a normalisation.

    Args:
        w: any shape, floating point.
        bits: of the codes.
        shape: () for one maximum of the tensor, (C_out, 1, ...) for one per channel.
    """
    top = 2**bits - 1
    codes: Tensor = _Round.apply(_unit(w, shape) * top)
    return codes * (2 / top) - 1


def _unit(w: Tensor, shape: Shape) -> Tensor:
    """tanh(w) / (2M) + 1/2, in 0..1."""
    squashed = torch.tanh(wide(w))
    largest = squashed.abs().amax(shared_dims(shape) or (), keepdim=bool(shape))
    return squashed / (2 * largest.clamp(min=SMALLEST_MAXIMUM)) + 0.5


class _Round(torch.autograd.Function):
    """Half to even going forward, the identity coming back."""

    @staticmethod
    def forward(_ctx: Any, x: Tensor) -> Tensor:
        return x.round()

    @staticmethod
    def backward(_ctx: Any, *grads: Tensor) -> Any:
        return grads[0]


class DoReFaWeight(FakeQuantizer):
    """DoReFa's quantizer of a weight tensor: a fixed grid, nothing to learn and nothing to start."""

    def __init__(self, bits: int, shape: Shape = ()) -> None:
        super().__init__(bits, signed=False)
        self.shape = shape

    def grid(self) -> tuple[Tensor, Tensor | None]:
        """2/(2^b - 1) and -1, on the CPU, whose scalars every device takes."""
        return torch.tensor(2 / self.qmax), torch.tensor(-1.0)

    def codes(self, x: Tensor) -> Tensor:
        """Integer codes of the weights, int32 in [0, 2^b-1]."""
        return (_unit(x, self.shape) * self.qmax).round().int()

    def learned_step(self) -> Tensor | None:
        """None: the grid is fixed."""
        return None

    def _start(self, x: Tensor) -> None:
        pass

    def _quantize(self, x: Tensor) -> Tensor:
        return dorefa_weight(x, self.bits, self.shape).to(x.dtype)

    def in_bytes(self, x: Tensor) -> Codes | None:
        """Odd numbers, 2c - (2^b - 1) of step 1/(2^b - 1): the same values without an offset. None for 8 bits."""
        values = self._quantize(x)
        if self.bits > 7 or not bool(values.isfinite().all()):
            return None
        odd = (values.detach() * self.qmax).round().to(torch.int8)
        return Codes(values, odd, 0, torch.tensor(1 / self.qmax), None)


class PACTActivation(FakeQuantizer):
    """Quantizer of a layer's input that clips to [0, α]; α is learned."""

    def __init__(self, bits: int) -> None:
        super().__init__(bits, signed=False)
        self.alpha = nn.Parameter(torch.ones(()))

    def grid(self) -> tuple[Tensor, Tensor | None]:
        """α/(2^b - 1), and no offset."""
        return self.alpha / self.qmax, None

    def steps(self) -> list[nn.Parameter]:
        """α: the step is a fixed share of it."""
        return [self.alpha]

    def _start(self, x: Tensor) -> None:
        step, _ = least_squares_start(x.float().relu(), self.qmin, self.qmax)
        self.alpha.data.copy_((step * self.qmax).clamp(min=SMALLEST_STEP * self.qmax))

    def _quantize(self, x: Tensor) -> Tensor:
        return pact(x, self.alpha, self.bits)

    def in_bytes(self, x: Tensor) -> Codes | None:
        """As uint8."""
        step, _ = self.grid()
        codes = encode(x, step, None, 0, self.qmax, 0, torch.uint8)
        if codes is None:
            return None
        carrier = _PACT.apply(x, self.alpha, self.qmax, carrier_of(x))
        return Codes(carrier, codes, 0, step.detach(), None)
