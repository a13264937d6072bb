"""The networks, and `build`, which returns one initialised and quantized."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from core.errors import unknown
from core.models.init import initialise_
from core.models.mobilenetv2 import mobilenetv2, mobilenetv2_full_precision
from core.models.resnet import resnet18, resnet18_full_precision
from core.quant import QuantSpec, quantize_

__all__ = ["MODELS", "ModelInfo", "build", "initialise_"]


@dataclass(frozen=True)
class ModelInfo:
    """A network: how it is made, the paper's width and quantization, and its cost.

    make: constructor from classes, width and quantization, which may ask for other blocks.
    full_precision: names of the layers that a quantization setting leaves alone, beside both ends.
    width: the paper's channel multiplier.
    paper_quant: the quantization that the paper states.
    released_quant: the one that its published code has (ALGORITHMS 6.5).
    megamacs: multiply-accumulates (10^6) of one 32-pixel image at the paper's width, for estimates.
    """

    make: Callable[[int, float, QuantSpec], nn.Module]
    full_precision: Callable[[QuantSpec], tuple[str, ...]]
    width: float
    paper_quant: QuantSpec
    released_quant: QuantSpec
    megamacs: float


MODELS: dict[str, ModelInfo] = {
    "resnet18": ModelInfo(
        resnet18,
        resnet18_full_precision,
        width=1.0,
        paper_quant=QuantSpec.parse("4w4a"),
        released_quant=QuantSpec.parse("4w8a-released"),
        megamacs=555.0,
    ),
    "mobilenetv2": ModelInfo(
        mobilenetv2,
        mobilenetv2_full_precision,
        width=0.5,
        paper_quant=QuantSpec.parse("2w"),
        released_quant=QuantSpec.parse("2w-released"),
        megamacs=28.0,
    ),
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
        quant: what to quantize; the paper's setting for this network if None. BadInput if its quantizer is
            unknown, does not take the bits, or it contradicts itself.
    """
    if name not in MODELS:
        raise unknown("architecture", name, MODELS)
    info = MODELS[name]
    quant = info.paper_quant if quant is None else quant
    model = info.make(classes, info.width if width is None else width, quant)
    quantize_(initialise_(model, generator), quant, info.full_precision(quant))
    return model.to(memory_format=torch.channels_last)
