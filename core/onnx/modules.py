"""How each kind of layer is written: `WRITERS`, by class. One function and one entry here make a layer exportable."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from core.models import LearnableBias
from core.onnx import functions
from core.onnx.folding import per_channel
from core.onnx.graph import Site, Value
from core.onnx.pooling import adaptive_average, average, maximum, pair
from core.onnx.quantized import write_input, write_weight
from core.quant import QuantConv2d, QuantLinear

Writer = Callable[[Site, Any, Value], str]


def _convolution(site: Site, layer: nn.Conv2d, x: Value) -> str:
    if layer.padding_mode != "zeros" or isinstance(layer.padding, str):
        raise site.refused(f"pads with {layer.padding_mode}, {layer.padding}: use a number of zeros")
    return _product(
        site,
        layer,
        x,
        "Conv",
        kernel_shape=pair(layer.kernel_size),
        strides=pair(layer.stride),
        pads=pair(layer.padding) * 2,
        dilations=pair(layer.dilation),
        group=layer.groups,
    )


def _linear(site: Site, layer: nn.Linear, x: Value) -> str:
    if len(x.shape) != 2:
        raise site.refused(
            f"reads {len(x.shape)} dimensions where ONNX's Gemm reads 2: flatten them before it"
        )
    return _product(site, layer, x, "Gemm", transB=1)


def _product(site: Site, layer: nn.Conv2d | nn.Linear, x: Value, kind: str, **attributes: Any) -> str:
    """The layer's input times its weight; its bias, with what a folded normalisation adds, comes apart."""
    of_input, of_weight = (getattr(layer, f"{part}_quantizer", nn.Identity()) for part in ("input", "weight"))
    whole = not isinstance(of_weight, nn.Identity)
    values = write_input(site.within("input"), x.name, of_input, whole=whole)
    weight = write_weight(site.within("weight"), layer.weight.detach(), of_weight)
    bias = None if layer.bias is None else layer.bias.detach()
    if site.fold is not None:
        bias = site.fold.shift if bias is None else bias * site.fold.factor + site.fold.shift
    if bias is None:
        return site.op(kind, values, weight, **attributes)
    sums = site.op(kind, values, weight, part="sums", **attributes)
    return site.op("Add", sums, site.constant("bias", per_channel(bias, layer.weight.dim() - 1)))


def _normalisation(site: Site, norm: nn.BatchNorm2d, x: Value) -> str:
    mean, variance = norm.running_mean, norm.running_var
    if mean is None or variance is None:
        raise site.refused("keeps no running statistics: give it track_running_stats=True")
    given = {
        "weight": mean.new_ones(mean.shape) if norm.weight is None else norm.weight,
        "bias": mean.new_zeros(mean.shape) if norm.bias is None else norm.bias,
        "mean": mean,
        "variance": variance,
    }
    inputs = (site.constant(part, value) for part, value in given.items())
    return site.op("BatchNormalization", x.name, *inputs, epsilon=norm.eps)


def _prelu(site: Site, layer: nn.PReLU, x: Value) -> str:
    return site.op("PRelu", x.name, site.constant("slope", per_channel(layer.weight, len(x.shape) - 1)))


def _learnable_bias(site: Site, layer: LearnableBias, x: Value) -> str:
    return site.op("Add", x.name, site.constant("bias", layer.bias))


def _calling(write: Callable[..., str], *names: str) -> Writer:
    """The writer of a function, given the layer's attributes of these names."""
    return lambda site, layer, x: write(site, x, *(getattr(layer, name) for name in names))


_WINDOW = ("kernel_size", "stride", "padding")

WRITERS: dict[type[nn.Module], Writer] = {
    QuantConv2d: _convolution,
    QuantLinear: _linear,
    nn.Conv2d: _convolution,
    nn.Linear: _linear,
    nn.BatchNorm2d: _normalisation,
    nn.PReLU: _prelu,
    LearnableBias: _learnable_bias,
    nn.ReLU: _calling(functions.elementwise("Relu")),
    nn.ReLU6: _calling(functions.relu6),
    nn.Sigmoid: _calling(functions.elementwise("Sigmoid")),
    nn.Tanh: _calling(functions.elementwise("Tanh")),
    nn.SiLU: _calling(functions.silu),
    nn.Hardswish: _calling(functions.elementwise("HardSwish")),
    nn.Hardsigmoid: _calling(functions.hard_sigmoid),
    nn.MaxPool2d: _calling(maximum, *_WINDOW, "dilation", "ceil_mode", "return_indices"),
    nn.AvgPool2d: _calling(average, *_WINDOW, "ceil_mode", "count_include_pad", "divisor_override"),
    nn.AdaptiveAvgPool2d: _calling(adaptive_average, "output_size"),
    nn.Flatten: _calling(functions.flatten, "start_dim", "end_dim"),
    nn.Identity: _calling(functions.same),
    nn.Dropout: _calling(functions.same),
}


def writer_of(layer: nn.Module) -> Writer | None:
    """How a layer is written: as its class, or as the one whose forward pass it has inherited."""
    classes = (kind for kind in type(layer).__mro__ if kind in WRITERS)
    return next((WRITERS[kind] for kind in classes if type(layer).forward is kind.forward), None)
