"""Fake quantizers as ONNX: Q → Clip → DQ of a layer's input, stored codes and DQ for its weight.

An offset β is kept exactly: Sub β → Q → Clip → DQ → Add β, with zero points that are always 0. What the code below
writes around in onnxruntime 1.32: activations are 8-bit codes clipped to fewer values, because 4-bit ones do not load
beside MaxPool; and biases are added apart, because those of a layer are rounded to its integer sums' step.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from core.onnx.folding import per_channel
from core.onnx.graph import Site
from core.quant import FakeQuantizer

_RANGES = {"INT4": (-8, 7), "UINT4": (0, 15), "INT8": (-128, 127), "UINT8": (0, 255)}


def write_input(site: Site, x: str, quantizer: nn.Module, *, whole: bool) -> str:
    """The layer's input as its quantizer has it; x itself where there is none. Returns the value's name.

    whole: the layer's weight is quantized too, so that a runtime may compute on codes. Else the step is multiplied in
    apart: behind a DequantizeLinear onnxruntime would round a float weight to 8 bits of its own choice.
    """
    if not isinstance(quantizer, FakeQuantizer):
        return x
    step, offset = quantizer.grid()
    if step.numel() > 1:
        raise site.refused(
            "quantizes its input with several steps, where ONNX's convolutions take one: use one"
        )
    exact = None if site.snap else offset
    shift = None if exact is None else site.constant("offset", exact.reshape(()))
    shifted = x if shift is None else site.op("Sub", x, shift, part="shifted")
    zero = zero_point(step, offset) if site.snap and offset is not None else 0
    codes, scale, point = _codes(site, shifted, quantizer, step, zero)
    if not whole:
        real = site.op("DequantizeLinear", codes, site.constant("one", 1.0), point, part="real_codes")
        scaled = site.op("Mul", real, scale, part="" if shift is None else "scaled")
    else:
        scaled = site.op("DequantizeLinear", codes, scale, point, part="" if shift is None else "scaled")
    return scaled if shift is None else site.op("Add", scaled, shift)


def zero_point(step: Tensor, offset: Tensor) -> int:
    """The nearest whole number of steps to -offset that an 8-bit zero point can be."""
    return int((-offset / step).round().clamp(*_RANGES["UINT8"]))


def _codes(site: Site, x: str, quantizer: FakeQuantizer, step: Tensor, zero: int) -> tuple[str, str, str]:
    """The integer codes of x, clipped where they are fewer than 8 bits can name; and their step and zero point."""
    kind = "INT8" if quantizer.qmin < 0 else "UINT8"
    scale, point = site.constant("step", step.reshape(())), site.constant("zero", zero, kind)
    if (quantizer.qmin, quantizer.qmax) == _RANGES[kind]:
        return site.op("QuantizeLinear", x, scale, point, part="codes"), scale, point
    rounded = site.op("QuantizeLinear", x, scale, point, part="rounded")
    ends = (site.constant(end, getattr(quantizer, end), kind) for end in ("qmin", "qmax"))
    return site.op("Clip", rounded, *ends, part="codes"), scale, point


def write_weight(site: Site, weight: Tensor, quantizer: nn.Module) -> str:
    """The layer's weight: integer codes, packed where they fit 4 bits, and their DQ; else float. Returns its name.

    A normalisation that is folded in changes step and offset of each channel, and no code.
    """
    factor = 1.0 if site.fold is None else per_channel(site.fold.factor, weight.dim())
    if not isinstance(quantizer, FakeQuantizer):
        return site.constant("values", weight * factor)
    codes = quantizer.codes(weight)
    step, offset = (None if value is None else value * factor for value in quantizer.grid())
    assert step is not None
    kind = _smallest(quantizer)
    scales = step.flatten() if step.numel() > 1 else step.reshape(())
    zero = site.constant("zero", torch.zeros_like(scales), kind)
    stored = site.constant("codes", codes, kind)
    axis: dict[str, Any] = {"axis": 0} if step.numel() > 1 else {}
    step_name = site.constant("step", scales)
    if offset is None:
        return site.op("DequantizeLinear", stored, step_name, zero, **axis)
    scaled = site.op("DequantizeLinear", stored, step_name, zero, part="scaled", **axis)
    return site.op("Add", scaled, site.constant("offset", offset))


def _smallest(quantizer: FakeQuantizer) -> str:
    """The narrowest integer type of the codes."""
    return next(
        kind for kind, (low, high) in _RANGES.items() if low <= quantizer.qmin and quantizer.qmax <= high
    )
