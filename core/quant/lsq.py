"""LSQ: a learned step and nothing else (Esser et al. 2020), for weights and activations.

Forward and backward are those of `core.quant.lsq_plus` without an offset. The start is LSQ's own,
s = 2 · mean|x| / sqrt(qmax), and so are the signs: codes of activations are unsigned where the data never
are negative.
"""

import math

import torch
from torch import Tensor, nn

from core.quant.base import SMALLEST_STEP, FakeQuantizer, integer_range, shared_dims
from core.quant.codes import Codes
from core.quant.lsq_plus import LSQPlusWeight, activation_grad_scale, lsq_plus, lsq_plus_codes


def starting_step(x: Tensor, qmax: int, dims: tuple[int, ...] | None = None) -> Tensor:
    """2 · mean|x| / sqrt(qmax) over the dimensions given (kept, of length 1) or over all (a scalar)."""
    mean = x.float().abs().mean(dims, keepdim=dims is not None)
    return (2 * mean / math.sqrt(qmax)).clamp(min=SMALLEST_STEP)


class LSQWeight(LSQPlusWeight):
    """Signed quantizer of a weight tensor; differs from LSQ+'s only in where the step starts."""

    def _start(self, x: Tensor) -> None:
        self.step.data.copy_(starting_step(x, self.qmax, shared_dims(self.step.shape)))


class LSQActivation(FakeQuantizer):
    """Quantizer of a layer's input: learned step, signed codes only if the calibration data need them.

    The paper quantizes inputs of ReLU networks, unsigned; images and linear bottlenecks are signed. Which
    of the two it is gets decided once, by `initialise_`, and is a buffer, so that a checkpoint keeps it.
    """

    signed: Tensor

    def __init__(self, bits: int) -> None:
        super().__init__(bits, signed=False)
        self.step = nn.Parameter(torch.ones(()))
        self.register_buffer("signed", torch.tensor(False))

    def grid(self) -> tuple[Tensor, Tensor | None]:
        """The step, and no offset."""
        return self.step, None

    def steps(self) -> list[nn.Parameter]:
        """The step."""
        return [self.step]

    def _start(self, x: Tensor) -> None:
        self.signed.copy_((x < 0).any())
        _, qmax = integer_range(self.bits, bool(self.signed))
        self.step.data.copy_(starting_step(x, qmax))

    def _mirror(self) -> None:
        super()._mirror()
        self.qmin, self.qmax = integer_range(self.bits, bool(self.signed))

    def _quantize(self, x: Tensor) -> Tensor:
        return lsq_plus(x, self.step, None, self.qmin, self.qmax, activation_grad_scale(x, self.qmax))

    def in_bytes(self, x: Tensor) -> Codes | None:
        """As uint8; signed codes start at 0."""
        scale = activation_grad_scale(x, self.qmax)
        return lsq_plus_codes(x, self.step, None, self.qmin, self.qmax, scale, torch.uint8)
