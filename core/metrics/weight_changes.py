"""What unlearning changed in a quantized network: integer codes of weights, and learned steps."""

from __future__ import annotations

from core import quant
from core.lazy import nn


def flip_rate(original: nn.Module, unlearned: nn.Module) -> float | None:
    """Share (0-1) of integer weight codes that changed; None for a network without quantized weights."""
    return quant.flip_rate(quant.weight_codes(original), quant.weight_codes(unlearned))


def step_drift(original: nn.Module, unlearned: nn.Module) -> float | None:
    """Mean relative change of the learned steps (0.1 is 10 %); None for a network that learns none."""
    return quant.step_drift(original, unlearned)
