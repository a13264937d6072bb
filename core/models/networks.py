"""The networks, and `build`, which returns one initialised and quantized."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import torch
from torch import nn

from core.errors import unknown
from core.models.alexnet import alexnet
from core.models.convnet import convnet
from core.models.init import initialise_
from core.models.lenet import lenet
from core.models.mlp import mlp
from core.models.mobilenetv2 import mobilenetv2, mobilenetv2_full_precision
from core.models.resnet import resnet18, resnet18_full_precision
from core.models.resnet9 import resnet9
from core.models.torchvision_nets import (
    PREFIX,
    check_torchvision_name,
    torchvision_full_precision,
    torchvision_network,
)
from core.models.weights import check_weights, load_weights_
from core.quant import QuantSpec, quantize_

_PAPER, _RELEASED = QuantSpec.parse("4w4a"), QuantSpec.parse("4w8a-released")  # of ResNet-18


@dataclass(frozen=True)
class ModelInfo:
    """A network: how it is made and called, the paper's width and quantization.

    make: constructor from classes, width and quantization, which may ask for other blocks.
    title: in tables.
    width: the paper's channel multiplier.
    paper_quant: the quantization that the paper states; for a network it has not, that of its ResNet-18.
    released_quant: the one that its published code has (ALGORITHMS 6.5), likewise.
    full_precision: names of the layers that a quantization setting leaves alone, beside both ends.
    scales: False for a network that comes in one width.
    """

    make: Callable[[int, float, QuantSpec], nn.Module]
    title: str
    width: float = 1.0
    paper_quant: QuantSpec = _PAPER
    released_quant: QuantSpec = _RELEASED
    full_precision: Callable[[QuantSpec], tuple[str, ...]] = lambda _quant: ()
    scales: bool = True


MODELS: dict[str, ModelInfo] = {
    "resnet18": ModelInfo(
        resnet18,
        title="ResNet-18",
        full_precision=resnet18_full_precision,
    ),
    "mobilenetv2": ModelInfo(
        mobilenetv2,
        title="MobileNetV2",
        width=0.5,
        paper_quant=QuantSpec.parse("2w"),
        released_quant=QuantSpec.parse("2w-released"),
        full_precision=mobilenetv2_full_precision,
    ),
    "mlp": ModelInfo(mlp, title="MLP"),
    "lenet": ModelInfo(lenet, title="LeNet"),
    "convnet": ModelInfo(convnet, title="ConvNet"),
    "alexnet": ModelInfo(alexnet, title="AlexNet"),
    "resnet9": ModelInfo(resnet9, title="ResNet-9"),
}


def model_info(name: str) -> ModelInfo:
    """What is known of a network: an entry of MODELS, or a classifier of torchvision as `tv:NAME`.

    Raises BadInput, with the nearest valid name, for any other.
    """
    if name.startswith(PREFIX):
        return _torchvision_info(name.removeprefix(PREFIX))
    if name not in MODELS:
        raise unknown("architecture", name, (*MODELS, f"{PREFIX}NAME"))
    return MODELS[name]


@cache
def _torchvision_info(name: str) -> ModelInfo:
    check_torchvision_name(name)
    return ModelInfo(
        partial(torchvision_network, name),
        title=name,
        full_precision=partial(torchvision_full_precision, name),
        scales=False,
    )


def build(
    name: str,
    classes: int,
    *,
    generator: torch.Generator,
    width: float | None = None,
    quant: QuantSpec | None = None,
    weights: Path | None = None,
) -> nn.Module:
    """A fresh network on the CPU, channels-last, quantized but not calibrated.

    Args:
        name: a key of MODELS, or `tv:` and a torchvision name; BadInput otherwise.
        classes: number of logits.
        generator: CPU generator for the weights.
        width: channel multiplier; the network's paper width if None.
        quant: what to quantize; the paper's setting for this network if None. BadInput if its quantizer is
            unknown, does not take the bits, or it contradicts itself.
        weights: a local file of full-precision weights to start from, see `core.models.weights`.
    """
    info = model_info(name)
    quant = info.paper_quant if quant is None else quant
    model = info.make(classes, info.width if width is None else width, quant)
    initialise_(model, generator)
    if weights is not None:
        load_weights_(model, weights)
    quantize_(model, quant, info.full_precision(quant))
    return model.to(memory_format=torch.channels_last)


def check_weights_of(name: str, path: Path, *, width: float, quant: QuantSpec) -> None:
    """Raises BadInput, one line, unless a file has the weights that `build` would start this network from."""
    with torch.device("meta"):
        model = model_info(name).make(2, width, quant)  # the head may be for any number of classes
    check_weights(model, path)
