"""Whether this processor's integer operators are in use: it has them, they are right, and nobody turned them off."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache

import torch
from torch import Tensor
from torch.nn import functional as F

from core.cpu import multiplies_bytes, share_of_time
from core.quant.codes import Codes, decode, encode
from core.quant.onednn import Window, convolve, multiply

_TOLERANCE = 1e-6  # of a sum, relative to the largest


class IntegerForward:
    """on: whether layers may compute on codes. used: whether one did."""

    def __init__(self, on: bool) -> None:
        self.on, self.used = on, False


_CURRENT: ContextVar[IntegerForward | None] = ContextVar("integer_forward", default=None)


@contextmanager
def integer_forward(on: bool) -> Iterator[IntegerForward]:
    """While active, layers compute on codes if `on`, where this processor can and is right; without it they do not.

    `integer_share` tells whether that pays.
    """
    current = IntegerForward(on)
    token = _CURRENT.set(current)
    try:
        yield current
    finally:
        _CURRENT.reset(token)


def integers_in_use() -> IntegerForward | None:
    """What a layer tells that it computed on codes; None if it is not to do so."""
    current = _CURRENT.get()
    return current if current is not None and current.on and integers_right() else None


@cache
def integers_right() -> bool:
    """Whether this processor has integer operators that give what floating point does; a warning says why not."""
    if not multiplies_bytes():
        return False
    try:
        fault = deviation(convolve, multiply)
    except Exception as error:  # of many kinds: an operator that is gone, or takes other arguments
        fault = str(error).strip().partition("\n")[0] or type(error).__name__
    if fault:
        warnings.warn(f"quantized layers compute in floating point on this processor: {fault}", stacklevel=2)
    return not fault


@torch.no_grad()
def deviation(convolving: Callable[..., Tensor], multiplying: Callable[..., Tensor]) -> str:
    """What the operators do otherwise than floating point, on a few thousand numbers; empty if nothing.

    With codes up to both ends of a byte, which operators of older processors cannot add up, an offset, padding and
    a stride.
    """
    x, w = _codes((2, 64, 9, 9), torch.uint8, 0.013, -0.4), _codes((32, 64, 3, 3), torch.int8, 0.021, None)
    window, bias = Window((2, 2), (1, 1), (1, 1)), torch.linspace(-1, 1, 32)
    values = decode(x, torch.float64), decode(w, torch.float64)
    expected = F.conv2d(*values, bias.double(), *window)
    if not _near(convolving(x, w, bias, window, torch.float32), expected):
        return "integer convolutions give other sums"
    flat_x, flat_w = (c._replace(codes=c.codes.flatten(1)[:, :576].contiguous()) for c in (x, w))
    expected = F.linear(decode(flat_x, torch.float64), decode(flat_w, torch.float64), bias.double())
    if not _near(multiplying(flat_x, flat_w, bias, torch.float32), expected):
        return "integer products give other sums"
    return ""


def _codes(shape: tuple[int, ...], dtype: torch.dtype, step: float, offset: float | None) -> Codes:
    """Random codes over the whole range of their type."""
    ends = torch.iinfo(dtype)
    drawn = torch.randint(ends.min, ends.max + 1, shape, generator=torch.Generator().manual_seed(0))
    codes = drawn.to(dtype).contiguous(memory_format=torch.channels_last)
    return Codes(codes, codes, 0, torch.tensor(step), None if offset is None else torch.tensor(offset))


def _near(sums: Tensor, expected: Tensor) -> bool:
    return bool((sums - expected).abs().max() <= _TOLERANCE * expected.abs().max())


@cache
def integer_share(precision: torch.dtype = torch.float32) -> float:
    """A quantized convolution's forward pass on codes over that in floating point of a type; 1 where it cannot be.

    Takes a tenth of a second, of which the fastest repetitions count.
    """
    if not integers_right():
        return 1.0
    w, step, offset = _codes((64, 64, 3, 3), torch.int8, 0.02, None), torch.tensor(0.2), torch.tensor(-0.1)
    x = torch.randn((16, 64, 16, 16), generator=torch.Generator().manual_seed(0))
    x = x.to(memory_format=torch.channels_last)
    values, window = decode(w, precision), Window((1, 1), (1, 1), (1, 1))

    def on_codes() -> None:
        codes = encode(x, step, offset, 0, 15, 0, torch.uint8)
        assert codes is not None
        convolve(Codes(codes, codes, 0, step, offset), w, None, window, precision)

    def on_values() -> None:
        rounded = ((x - offset) / step).clamp_(0, 15).round_().mul_(step).add_(offset)
        F.conv2d(rounded.to(precision), values, None, *window)

    return share_of_time(on_codes, on_values)
