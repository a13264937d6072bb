"""Convolutions and products on codes, by torch's oneDNN operators: uint8 times int8, summed up in int32.

With x = s_x · (u + a) + β and w = s_w · q + γ, u and q the codes, a a whole number:
    x ⊛ w = s_x s_w · (u + a) ⊛ q + β · (1 ⊛ s_w q) + γ · (x ⊛ 1)
The first term is integer arithmetic, with -a for a zero point. The second does not depend on the data: a bias, less at
the edges of a padded image, as padding is zero and not β. The third is there for quantizers whose weights have an
offset: a convolution with a single kernel of ones. So offsets, which are real numbers, are exact.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from core.quant.codes import Codes


class Window(NamedTuple):
    """How a kernel goes over an image: stride, padding by zeros and dilation, of rows and of columns."""

    stride: Sequence[int]
    padding: Sequence[int]
    dilation: Sequence[int]


def convolve(x: Codes, w: Codes, bias_O: Tensor | None, window: Window, dtype: torch.dtype) -> Tensor:
    """The convolution of the values behind codes, B x O x H x W and channels-last; sums are exact before one rounding.

    x: uint8 BCHW. w: int8 OCHW, a step for all or for each output channel. dtype: float32 or bfloat16.
    """
    kernel_O1HW = (
        w.codes.sum(1, keepdim=True, dtype=torch.float32) * w.step
    )  # what a one in every channel meets
    bias, edges = _offset_terms(x, kernel_O1HW, bias_O, window)
    scale, zeros = (x.step * w.step).view(-1), torch.zeros(w.step.numel(), dtype=torch.int64)
    stride, padding, dilation = window
    packed = torch.ops.onednn.qconv_prepack(
        w.codes, scale, 1.0, -x.shift, stride, padding, dilation, 1, x.codes.shape
    )
    out: Tensor = torch.ops.onednn.qconv_pointwise(
        x.codes,
        1.0,
        -x.shift,
        packed,
        scale,
        zeros,
        bias,
        stride,
        padding,
        dilation,
        1,
        1.0,
        0,
        dtype,
        "none",
        [],
        "",
    )
    for rows, columns, missing in edges:
        out[:, :, rows, columns].add_(missing)
    if w.offset is not None:
        out.addcmul_(_gamma(w).view(1, -1, 1, 1).to(out.dtype), _windows_sum(x, w, window).to(out.dtype))
    return out


def _gamma(w: Codes) -> Tensor:
    """What a weight is where its code in a byte is 0."""
    assert w.offset is not None
    return w.offset + w.step * w.shift


def _offset_terms(
    x: Codes, kernel_O1HW: Tensor, bias_O: Tensor | None, window: Window
) -> tuple[Tensor | None, list[tuple[slice, slice, Tensor]]]:
    """The bias with what an offset of x adds to it, and what to add at the edges, where the kernel meets padding."""
    if x.offset is None:
        return bias_O, []
    inside_O = kernel_O1HW.sum((1, 2, 3)) * x.offset
    bias = inside_O if bias_O is None else bias_O + inside_O
    if not any(window.padding):
        return bias, []
    ones = torch.ones((1, 1, *x.codes.shape[2:]))
    missing = F.conv2d(ones, kernel_O1HW, None, *window) * x.offset - inside_O.view(1, -1, 1, 1)
    return bias, _edges(
        missing.contiguous(memory_format=torch.channels_last), kernel_O1HW.shape[2:], x, window
    )


def _edges(
    missing: Tensor, kernel: Sequence[int], x: Codes, window: Window
) -> list[tuple[slice, slice, Tensor]]:
    """The four strips of an image that a padding reaches; together every such place once."""
    (top, bottom), (left, right) = (
        _whole(size, length, *places)
        for size, length, *places in zip(x.codes.shape[2:], kernel, *window, strict=True)
    )
    everywhere, between = slice(None), slice(top, bottom)
    strips = (
        (slice(top), everywhere),
        (slice(bottom, None), everywhere),
        (between, slice(left)),
        (between, slice(right, None)),
    )
    found = ((rows, columns, missing[:, :, rows, columns]) for rows, columns in strips)
    return [strip for strip in found if strip[2].numel()]


def _whole(size: int, kernel: int, stride: int, padding: int, dilation: int) -> tuple[int, int]:
    """The first place of the output at which the kernel lies inside the image, and the first after those."""
    first = -(-padding // stride)
    last = (size - 1 + padding - dilation * (kernel - 1)) // stride
    return first, max(first, last + 1)


def _windows_sum(x: Codes, w: Codes, window: Window) -> Tensor:
    """x ⊛ 1, B x 1 x H x W."""
    ones = torch.ones((1, *w.codes.shape[1:]), dtype=torch.int8)
    one = Codes(ones, ones, 0, torch.ones(()), None)
    return convolve(x, one, None, window, torch.float32)


def multiply(x: Codes, w: Codes, bias_O: Tensor | None, dtype: torch.dtype) -> Tensor:
    """The product of the values behind codes, x w^T + bias, B x O; exact as `convolve`.

    x: uint8 BD. w: int8 OD, a step for all or for each output.
    """
    scale, zeros = (x.step * w.step).view(-1), torch.zeros(w.step.numel(), dtype=torch.int64)
    bias = bias_O
    if x.offset is not None:
        added_O = w.codes.sum(1, dtype=torch.float32) * w.step.view(-1) * x.offset
        bias = added_O if bias is None else bias + added_O
    packed = torch.ops.onednn.qlinear_prepack(w.codes, x.codes.shape)
    out: Tensor = torch.ops.onednn.qlinear_pointwise(
        x.codes, 1.0, -x.shift, packed, scale, zeros, bias, 1.0, 0, dtype, "none", [], ""
    )
    if w.offset is None:
        return out
    summed_B1 = (x.codes.sum(1, keepdim=True, dtype=torch.float32) + x.shift * x.codes.shape[1]) * x.step
    if x.offset is not None:
        summed_B1 = summed_B1 + x.offset * x.codes.shape[1]
    return out.addcmul_(summed_B1.to(out.dtype), _gamma(w).view(1, -1).to(out.dtype))
