"""The integer network behind the fake-quantized one: codes, and how many of them an edit really changed."""

import torch
from torch import Tensor, nn

from core.quant.base import FakeQuantizer
from core.quant.layers import QuantConv2d, QuantLinear


@torch.no_grad()
def weight_codes(model: nn.Module) -> dict[str, Tensor]:
    """Integer codes (int32, the weight's shape) of every quantized weight, by layer name."""
    return {
        name: layer.weight_quantizer.codes(layer.weight)
        for name, layer in model.named_modules()
        if isinstance(layer, QuantConv2d | QuantLinear) and isinstance(layer.weight_quantizer, FakeQuantizer)
    }


def flip_rate(before: dict[str, Tensor], after: dict[str, Tensor]) -> float | None:
    """Share (0-1) of integer weight codes that differ; None for a network without quantized weights.

    A change of a latent weight reaches the deployed network only by crossing a rounding boundary
    (ALGORITHMS 6.6), so a method with flip rate 0 left the integer weights as they were.
    """
    total = sum(codes.numel() for codes in before.values())
    if total == 0:
        return None
    return sum(int((before[name] != after[name]).sum()) for name in before) / total
