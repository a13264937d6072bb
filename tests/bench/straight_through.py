"""LSQ+ as most code bases write it: elementary operations and the detach trick. The reference to compare with.

It computes the same values and gradients as `core.quant.lsq_plus`; autograd keeps every intermediate.
"""

import math

import torch
from torch import Tensor

from core.quant import QuantizerPair
from core.quant.lsq_plus import LSQPlusActivation, LSQPlusWeight


def composed_lsq_plus(
    x: Tensor, step: Tensor, offset: Tensor | None, qmin: int, qmax: int, grad_scale: float
) -> Tensor:
    """Same arguments and result as `core.quant.lsq_plus.lsq_plus`."""
    wide = x.float() if x.dtype in (torch.bfloat16, torch.float16) else x
    scale = _scaled_gradient(step, grad_scale)
    shift = 0.0 if offset is None else _scaled_gradient(offset, grad_scale)
    codes = _rounded(torch.clamp((wide - shift) / scale, qmin, qmax))
    return (codes * scale + shift).to(x.dtype)


def _scaled_gradient(x: Tensor, scale: float) -> Tensor:
    """x going forward, its gradient times scale coming back."""
    scaled = x * scale
    return (x - scaled).detach() + scaled


def _rounded(x: Tensor) -> Tensor:
    """round(x) going forward, the identity coming back."""
    return (x.round() - x).detach() + x


class ComposedWeight(LSQPlusWeight):
    """The weight quantizer around the composed form; start and validity are the project's own."""

    def _quantize(self, x: Tensor) -> Tensor:
        scale = 1 / math.sqrt(x.numel() * self.qmax)
        return composed_lsq_plus(x, self.step, None, self.qmin, self.qmax, scale)


class ComposedActivation(LSQPlusActivation):
    """The activation quantizer around the composed form."""

    def _quantize(self, x: Tensor) -> Tensor:
        scale = 1 / math.sqrt(x[0].numel() * self.qmax)
        return composed_lsq_plus(x, self.step, self.offset, self.qmin, self.qmax, scale)


COMPOSED = QuantizerPair("Composed", ComposedWeight, ComposedActivation)
