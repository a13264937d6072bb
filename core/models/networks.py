"""The networks by name, and what is known of each before it is built."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial

from core.lazy import Lazy, nn
from core.models.torchvision_nets import (
    PREFIX,
    check_torchvision_name,
    torchvision_full_precision,
    torchvision_network,
)
from core.quant import QuantSpec
from core.registry import Registry

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


_HERE: dict[str, ModelInfo] = {
    "resnet18": ModelInfo(
        Lazy("core.models.resnet:resnet18"),
        title="ResNet-18",
        full_precision=Lazy("core.models.resnet:resnet18_full_precision"),
    ),
    "mobilenetv2": ModelInfo(
        Lazy("core.models.mobilenetv2:mobilenetv2"),
        title="MobileNetV2",
        width=0.5,
        paper_quant=QuantSpec.parse("2w"),
        released_quant=QuantSpec.parse("2w-released"),
        full_precision=Lazy("core.models.mobilenetv2:mobilenetv2_full_precision"),
    ),
    "mlp": ModelInfo(Lazy("core.models.mlp:mlp"), title="MLP"),
    "lenet": ModelInfo(Lazy("core.models.lenet:lenet"), title="LeNet"),
    "convnet": ModelInfo(Lazy("core.models.convnet:convnet"), title="ConvNet"),
    "alexnet": ModelInfo(Lazy("core.models.alexnet:alexnet"), title="AlexNet"),
    "resnet9": ModelInfo(Lazy("core.models.resnet9:resnet9"), title="ResNet-9"),
}


MODELS = Registry("architecture", ModelInfo, "unlearn_grid.networks", _HERE, also=(f"{PREFIX}NAME",))


def model_info(name: str) -> ModelInfo:
    """What is known of a network: an entry of MODELS, from outside too, or a torchvision classifier as `tv:NAME`.

    Raises BadInput, with the nearest valid name, for any other.
    """
    if name.startswith(PREFIX):
        return _torchvision_info(name.removeprefix(PREFIX))
    return MODELS[MODELS.canonical(name)]


@cache
def _torchvision_info(name: str) -> ModelInfo:
    check_torchvision_name(name)
    return ModelInfo(
        partial(torchvision_network, name),
        title=name,
        full_precision=partial(torchvision_full_precision, name),
        scales=False,
    )
