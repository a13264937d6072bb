"""The networks, and `build`, which returns one initialised and quantized."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from core.errors import unknown
from core.models.init import initialise_
from core.models.mobilenetv2 import mobilenetv2
from core.models.resnet import resnet18
from core.quant import QuantSpec, quantize_

__all__ = ["MODELS", "ModelInfo", "build", "initialise_"]


@dataclass(frozen=True)
class ModelInfo:
    """A network: its constructor (classes, width), the paper's width and quantization, and its cost."""

    make: Callable[[int, float], nn.Module]
    width: float
    paper_quant: QuantSpec
    megamacs: float  # multiply-accumulates (10^6) of one 32-pixel image at the paper's width, for estimates


MODELS: dict[str, ModelInfo] = {
    "resnet18": ModelInfo(resnet18, 1.0, QuantSpec(weight_bits=4, activation_bits=4), 555.0),
    "mobilenetv2": ModelInfo(mobilenetv2, 0.5, QuantSpec(weight_bits=2), 28.0),
}


def build(
    name: str,
    classes: int,
    *,
    generator: torch.Generator,
    width: float | None = None,
    quant: QuantSpec | None = None,
) -> nn.Module:
    """A fresh network on the CPU, channels-last, quantized but not calibrated.

    Args:
        name: a key of MODELS; BadInput otherwise.
        classes: number of logits.
        generator: CPU generator for the weights.
        width: channel multiplier; the network's paper width if None.
        quant: what to quantize; the paper's setting for this network if None.
    """
    if name not in MODELS:
        raise unknown("architecture", name, MODELS)
    info = MODELS[name]
    model = info.make(classes, info.width if width is None else width)
    quantize_(initialise_(model, generator), info.paper_quant if quant is None else quant)
    return model.to(memory_format=torch.channels_last)
