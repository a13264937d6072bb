"""The forward pass on codes: a layer whose weight and input are both quantized computes as the integer network does.

Backward, the values behind the codes take part in the usual convolutions; codes are what is kept for it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from core.quant.agreement import integers_in_use
from core.quant.base import FakeQuantizer
from core.quant.codes import Codes, decode, dense
from core.quant.onednn import Window, convolve, multiply

# Multiply-accumulates of a batch below which packing weights and starting operators takes longer than is saved
FEWEST = 2**26


def by_integers(
    layer: nn.Conv2d | nn.Linear, weight: nn.Module, activation: nn.Module, x: Tensor
) -> Tensor | None:
    """What the layer gives with its weight and x quantized so, computed on codes; None where that is not to be done.

    It is done on CPUs whose integer operators are in use (`core.quant.agreement`), outside of a compiler, for layers
    without groups that multiply at least `FEWEST` times, whose quantizers say their codes in bytes.
    """
    in_use = integers_in_use()
    if in_use is None or not _suits(layer, x) or not (_free(weight) and _free(activation)):
        return None
    assert isinstance(weight, FakeQuantizer)
    assert isinstance(activation, FakeQuantizer)
    dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else torch.float32
    codes_x = activation.in_bytes(x)
    codes_w = None if codes_x is None else weight.in_bytes(layer.weight)
    if codes_x is None or codes_w is None:
        return None
    in_use.used = True
    if isinstance(layer, nn.Linear):
        return product(codes_x, codes_w, layer.bias, dtype)
    window = Window(layer.stride, layer.padding, layer.dilation)  # type: ignore[arg-type]
    return convolution(codes_x, codes_w, layer.bias, window, dtype)


def _suits(layer: nn.Conv2d | nn.Linear, x: Tensor) -> bool:
    """Whether the layer and its input are what the operators are for, and large enough."""
    if not x.is_cpu or torch.compiler.is_compiling() or layer.weight.dtype != torch.float32 or not dense(x):
        return False
    if isinstance(layer, nn.Linear):
        return x.dim() == 2 and x.numel() * layer.out_features >= FEWEST
    plain = layer.groups == 1 and layer.padding_mode == "zeros" and not isinstance(layer.padding, str)
    if not plain or x.dim() != 4:
        return False
    return x.numel() // (layer.stride[0] * layer.stride[1]) * layer.weight[:, 0].numel() >= FEWEST


def _free(quantizer: nn.Module) -> bool:
    """Whether a quantizer is one that has started, to which nobody listens: a hook wants to see it called."""
    heard = quantizer._forward_hooks or quantizer._forward_pre_hooks
    return isinstance(quantizer, FakeQuantizer) and quantizer.ready and not heard


def convolution(x: Codes, w: Codes, bias_O: Tensor | None, window: Window, dtype: torch.dtype) -> Tensor:
    """`core.quant.onednn.convolve`, differentiable by both carriers and the bias."""
    out: Tensor = _Convolution.apply(x.carrier, w.carrier, bias_O, x, w, window, dtype)
    return out


def product(x: Codes, w: Codes, bias_O: Tensor | None, dtype: torch.dtype) -> Tensor:
    """`core.quant.onednn.multiply`, differentiable by both carriers and the bias."""
    out: Tensor = _Product.apply(x.carrier, w.carrier, bias_O, x, w, dtype)
    return out


class _Convolution(torch.autograd.Function):
    """Its gradients are those of the values, in the type of the gradient that comes in, and linear in it."""

    @staticmethod
    def forward(
        ctx: Any,
        _x: Tensor,
        _w: Tensor,
        bias_O: Tensor | None,
        x: Codes,
        w: Codes,
        window: Window,
        dtype: torch.dtype,
    ) -> Tensor:
        _keep(ctx, x, w)
        ctx.window, ctx.biased = window, bias_O is not None
        return convolve(x, w, bias_O, window, dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        (grad,), (x, w) = grads, _kept(ctx)
        along_x, along_w, along_bias = torch.ops.aten.convolution_backward(
            grad,
            decode(x, grad.dtype),
            decode(w, grad.dtype),
            [len(w.codes)] if ctx.biased else None,
            *ctx.window,
            False,
            [0, 0],
            1,
            [ctx.needs_input_grad[0], ctx.needs_input_grad[1], ctx.biased and ctx.needs_input_grad[2]],
        )
        return along_x, along_w, along_bias, None, None, None, None


class _Product(torch.autograd.Function):
    """As `_Convolution`."""

    @staticmethod
    def forward(
        ctx: Any, _x: Tensor, _w: Tensor, bias_O: Tensor | None, x: Codes, w: Codes, dtype: torch.dtype
    ) -> Tensor:
        _keep(ctx, x, w)
        ctx.biased = bias_O is not None
        return multiply(x, w, bias_O, dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        (grad,), (x, w) = grads, _kept(ctx)
        along_x = grad @ decode(w, grad.dtype) if ctx.needs_input_grad[0] else None
        along_w = grad.T @ decode(x, grad.dtype) if ctx.needs_input_grad[1] else None
        along_bias = grad.sum(0) if ctx.biased and ctx.needs_input_grad[2] else None
        return along_x, along_w, along_bias, None, None, None


def _keep(ctx: Any, *found: Codes) -> None:
    ctx.shifts = [codes.shift for codes in found]
    ctx.save_for_backward(*(t for codes in found for t in (codes.codes, codes.step, codes.offset)))


def _kept(ctx: Any) -> list[Codes]:
    saved = ctx.saved_tensors
    parts = zip(saved[::3], ctx.shifts, saved[1::3], saved[2::3], strict=True)
    return [Codes(codes, codes, shift, step, offset) for codes, shift, step, offset in parts]
