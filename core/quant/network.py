"""Fake quantization in place: `quantize_` puts quantizers in, `calibrate_` starts them from data."""

from collections.abc import Collection

import torch
from torch import Tensor, nn

from core.quant.base import (
    FakeQuantizer,
)
from core.quant.layers import QuantConv2d, QuantLinear, quantized_copy
from core.quant.registry import QUANTIZERS
from core.quant.spec import QuantSpec


def quantize_(model: nn.Module, spec: QuantSpec, full_precision: Collection[str] = ()) -> nn.Module:
    """Replaces every convolution and linear layer by its quantized form, in place; returns the model.

    Args:
        model: its first convolution reads images, its last layer gives logits.
        spec: what is quantized, and how.
        full_precision: names of layers that are left as they are.

    Weight quantizers are set from the weights at once; activation quantizers wait for `calibrate_`.
    Raises BadInput for an unknown quantizer, bits that it does not take, and a spec that contradicts itself.
    """
    spec.check()
    if not spec.quantizes:
        return model
    layers = {name: m for name, m in model.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)}
    assert layers.keys() >= set(full_precision)
    names = list(layers)
    for name, layer in layers.items():
        if name in full_precision:
            continue
        ends = (name == names[0], name == names[-1])
        owner, _, attribute = name.rpartition(".")
        setattr(model.get_submodule(owner), attribute, quantized_copy(layer, *_pair(spec, layer, *ends)))
    restart_weight_quantizers_(model)
    return model


def _pair(
    spec: QuantSpec, layer: nn.Conv2d | nn.Linear, first: bool, last: bool
) -> tuple[nn.Module, nn.Module]:
    """The quantizers of a layer's weight and of its input; nn.Identity leaves one in full precision."""
    pair = QUANTIZERS[spec.quantizer]
    weight, activation = _bits_of(spec, outer=first or last)
    if first and not pair.quantizes_images:
        activation = None
    make = pair.linear if isinstance(layer, nn.Linear) and pair.linear else pair.weight
    shape = (len(layer.weight), *(1,) * (layer.weight.dim() - 1)) if spec.granularity == "channel" else ()
    return (
        make(weight, shape) if weight else nn.Identity(),
        pair.activation(activation) if activation else nn.Identity(),
    )


def _bits_of(spec: QuantSpec, outer: bool) -> tuple[int | None, int | None]:
    """(weight bits, activation bits) of a layer; the two outer layers have their own rule."""
    if not outer:
        return spec.weight_bits, spec.activation_bits
    if spec.ends == "full_precision":
        return None, None
    return (8 if spec.weight_bits else None), (8 if spec.activation_bits else None)


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
