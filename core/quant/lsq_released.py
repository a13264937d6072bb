"""LSQ as the published Q-MUL code has it (ALGORITHMS 6.1), for runs that are to be compared with its figures.

Weights are LSQ's (`LSQWeight`). Activations differ from the LSQ paper, and from `core.quant.lsq`, in two ways:
    * Codes are always signed: the option for unsigned ones cannot be reached in that code. After a ReLU
      half of them, and so one bit, lie idle.
    * g counts every element of the batch, not the features of a sample, so that the step's gradient
      shrinks with the root of the batch size and jumps in a last, smaller batch.
Three faults of that code are not kept. Its step has no value before the first training pass; here
calibration sets it, to the same formula. Nothing keeps its step positive; here the smallest step does.
It decays the step, which is a matter of training: `TrainParams.decay_quantizers`.
"""

import math

import torch
from torch import Tensor, nn

from core.quant.base import FakeQuantizer
from core.quant.codes import Codes
from core.quant.lsq import starting_step
from core.quant.lsq_plus import lsq_plus, lsq_plus_codes


class ReleasedLSQActivation(FakeQuantizer):
    """Signed quantizer of a layer's input whose gradient scale depends on the batch size."""

    def __init__(self, bits: int) -> None:
        super().__init__(bits, signed=True)
        self.step = nn.Parameter(torch.ones(()))

    def grid(self) -> tuple[Tensor, Tensor | None]:
        """The step, and no offset."""
        return self.step, None

    def steps(self) -> list[nn.Parameter]:
        """The step."""
        return [self.step]

    def _start(self, x: Tensor) -> None:
        self.step.data.copy_(starting_step(x, self.qmax))

    def _quantize(self, x: Tensor) -> Tensor:
        return lsq_plus(x, self.step, None, self.qmin, self.qmax, self._grad_scale(x))

    def in_bytes(self, x: Tensor) -> Codes | None:
        """As uint8, from 0."""
        return lsq_plus_codes(x, self.step, None, self.qmin, self.qmax, self._grad_scale(x), torch.uint8)

    def _grad_scale(self, x: Tensor) -> float:
        return 1 / math.sqrt(x.numel() * self.qmax)
