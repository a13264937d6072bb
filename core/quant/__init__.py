"""Fake quantization in place: `quantize_` puts quantizers in, `calibrate_` starts them from data."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from core.errors import unknown
from core.quant.base import (
    FakeQuantizer,
    keep_valid_,
    quantizer_faults,
    quantizer_parameters,
    quantizers,
)
from core.quant.guard import StepGuard
from core.quant.layers import QuantConv2d, QuantLinear, quantized_copy
from core.quant.lsq_plus import LSQPlusActivation, LSQPlusWeight
from core.quant.spec import QuantSpec

__all__ = [
    "QUANTIZERS",
    "FakeQuantizer",
    "QuantSpec",
    "QuantizerPair",
    "StepGuard",
    "calibrate_",
    "keep_valid_",
    "quantize_",
    "quantizer_faults",
    "quantizer_parameters",
    "quantizers",
    "restart_weight_quantizers_",
]


@dataclass(frozen=True)
class QuantizerPair:
    """What one quantization scheme puts on weights and on activations, each built from its bits."""

    weight: Callable[[int], FakeQuantizer]
    activation: Callable[[int], FakeQuantizer]


QUANTIZERS: dict[str, QuantizerPair] = {
    "lsq_plus": QuantizerPair(LSQPlusWeight, LSQPlusActivation),
}


def quantize_(model: nn.Module, spec: QuantSpec) -> nn.Module:
    """Replaces every convolution and linear layer by its quantized form, in place; returns the model.

    Weight steps are set from the weights at once; activation quantizers wait for `calibrate_`.
    Raises BadInput for an unknown quantizer.
    """
    if spec.quantizer not in QUANTIZERS:
        raise unknown("quantizer", spec.quantizer, QUANTIZERS)
    if not spec.quantizes:
        return model
    layers = [(name, m) for name, m in model.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    outer = {layers[0][0], layers[-1][0]}
    for name, layer in layers:
        bits = _bits_of(spec, outer=name in outer)
        weight, activation = _pair(QUANTIZERS[spec.quantizer], *bits)
        owner, _, attribute = name.rpartition(".")
        setattr(model.get_submodule(owner), attribute, quantized_copy(layer, weight, activation))
    restart_weight_quantizers_(model)
    return model


def _bits_of(spec: QuantSpec, outer: bool) -> tuple[int | None, int | None]:
    """(weight bits, activation bits) of a layer; the two outer layers have their own rule."""
    if not outer:
        return spec.weight_bits, spec.activation_bits
    if spec.ends == "full_precision":
        return None, None
    return (8 if spec.weight_bits else None), (8 if spec.activation_bits else None)


def _pair(pair: QuantizerPair, weight: int | None, activation: int | None) -> tuple[nn.Module, nn.Module]:
    return (
        pair.weight(weight) if weight else nn.Identity(),
        pair.activation(activation) if activation else nn.Identity(),
    )


@torch.no_grad()
def restart_weight_quantizers_(model: nn.Module) -> None:
    """Sets every weight quantizer from the weights as they are now."""
    for layer in model.modules():
        if isinstance(layer, QuantConv2d | QuantLinear) and isinstance(layer.weight_quantizer, FakeQuantizer):
            layer.weight_quantizer.initialise_(layer.weight)


@torch.no_grad()
def calibrate_(model: nn.Module, images_BCHW: Tensor) -> nn.Module:
    """Starts every activation quantizer from one batch of normalised images; returns the model.

    One forward pass: each quantizer is set from the input it receives, so later layers see quantized
    inputs already. Batch statistics are used (an untrained running mean says nothing about the data),
    while running statistics and modes are left as they were.
    """
    norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    buffers = [{name: b.clone() for name, b in norm.named_buffers()} for norm in norms]
    modes = [(m, m.training) for m in model.modules()]
    hooks = [
        layer.input_quantizer.register_forward_pre_hook(_initialise_from_input)
        for layer in model.modules()
        if isinstance(layer, QuantConv2d | QuantLinear) and isinstance(layer.input_quantizer, FakeQuantizer)
    ]
    try:
        model.eval()
        for norm in norms:
            norm.train()
        model(images_BCHW)
    finally:
        for hook in hooks:
            hook.remove()
        for module, training in modes:
            module.training = training
        for norm, saved in zip(norms, buffers, strict=True):
            for name, value in saved.items():
                norm.get_buffer(name).copy_(value)
    return model


def _initialise_from_input(quantizer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    assert isinstance(quantizer, FakeQuantizer)
    quantizer.initialise_(inputs[0])
