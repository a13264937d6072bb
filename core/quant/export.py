"""The integer network behind the fake-quantized one: codes, and how many of them an edit really changed."""

import torch
from torch import Tensor, nn

from core.quant.base import FakeQuantizer, quantizers
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


@torch.no_grad()
def step_drift(before_model: nn.Module, after_model: nn.Module) -> float | None:
    """Mean over all learned steps s of |s_after / s_before - 1|; None for a network that learns none.

    A step is LSQ's and LSQ+'s s, PACT's α/(2^b - 1) and DSQ's (u - l)/(2^b - 1), of weights and activations
    alike, one for each channel where there are as many. Where it moves, the whole grid of values does,
    even if no code changes. DoReFa's grid is fixed and does not count.
    """
    before, after = _learned_steps(before_model), _learned_steps(after_model)
    if before is None or after is None:
        return None
    return float((after / before - 1).abs().mean())


def _learned_steps(model: nn.Module) -> Tensor | None:
    found = [step.flatten() for _, q in quantizers(model) if (step := q.learned_step()) is not None]
    return torch.cat(found) if found else None
