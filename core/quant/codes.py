"""Codes of a byte each: what integer operators read, written in one pass over memory and kept for the backward pass.

A pass goes from block to block of the size of a processor's cache. What several elementwise operations would each
carry to memory and back stays in there, so that a tensor is read once and its codes are written once.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from core.quant.fused import pass_inside

_BLOCK = 2**16  # elements; a few buffers of as many float32 fit the second cache of a core
_TO_EVEN = 12582912.0  # 1.5 · 2^23: adding it rounds half to even, and leaves the code in the lowest byte


class Codes(NamedTuple):
    """A quantized tensor: (codes + shift) · step + offset.

    carrier: of its shape and type, and what autograd differentiates by; its values mean nothing.
    codes: uint8 or int8, lying in memory as the tensor did. shift: what was taken from the quantizer's codes, so that
    they fit. step: one element, or broadcastable (per channel). offset: of the step's shape; None: zero.
    """

    carrier: Tensor
    codes: Tensor
    shift: int
    step: Tensor
    offset: Tensor | None


def carrier_of(x: Tensor) -> Tensor:
    """A tensor of x's shape and type that takes no memory."""
    return x.new_zeros(()).expand(x.shape)


def dense(x: Tensor) -> bool:
    """Whether the elements lie in memory one after the other, in one of the two usual orders."""
    return x.is_contiguous() or (x.dim() == 4 and x.is_contiguous(memory_format=torch.channels_last))


@torch.no_grad()
def encode(
    x: Tensor, step: Tensor, offset: Tensor | None, qmin: int, qmax: int, shift: int, dtype: torch.dtype
) -> Tensor | None:
    """round(clamp((x - offset) / step, qmin, qmax)) - shift as uint8 or int8; None if x has a NaN.

    The same codes as `core.quant.fused.round_to_grid` rounds to. x is dense; dtype holds every code.
    """
    codes = torch.empty_like(x, dtype=dtype)
    if step.numel() > 1:
        part = torch.empty_like(x, dtype=torch.float32)
        return codes if _encode(x, codes, part, step, offset, qmin, qmax, shift) else None
    room = torch.empty(min(_BLOCK, x.numel()))
    numbers = True
    for part, out in zip(_blocks(x), _blocks(codes), strict=True):
        numbers &= _encode(part, out, room[: len(part)], step, offset, qmin, qmax, shift)
    return codes if numbers else None


def _encode(
    x: Tensor,
    out: Tensor,
    room: Tensor,
    step: Tensor,
    offset: Tensor | None,
    qmin: int,
    qmax: int,
    shift: int,
) -> bool:
    """Whether every element was a number, whose codes are written out."""
    room.copy_(x)
    if offset is not None:
        room.sub_(offset)
    room.div_(step).clamp_(qmin, qmax)
    numbers = bool(room.sum().isfinite())  # the clamp leaves nothing else that is not
    out.copy_(room.add_(_TO_EVEN - shift).view(torch.int32))  # keeps the lowest byte
    return numbers


def decode(found: Codes, dtype: torch.dtype) -> Tensor:
    """The values, exactly as `round_to_grid` gives them, rounded to dtype; differentiable by nothing."""
    out = torch.empty_like(found.codes, dtype=dtype)
    if found.step.numel() > 1:
        return out.copy_(_decode(found, found.codes, torch.empty_like(found.codes, dtype=torch.float32)))
    room = torch.empty(min(_BLOCK, out.numel()))
    for codes, part in zip(_blocks(found.codes), _blocks(out), strict=True):
        part.copy_(_decode(found, codes, room[: len(part)]))
    return out


def _decode(found: Codes, codes: Tensor, room: Tensor) -> Tensor:
    room.copy_(codes)
    if found.shift:
        room.add_(found.shift)
    room.mul_(found.step.detach())
    return room if found.offset is None else room.add_(found.offset.detach())


def straight_through(
    grad: Tensor, x: Tensor, found: Codes, low: Tensor, high: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """What reaches x, Σ grad · value - Σ passed · x, and Σ grad - Σ passed, passed being the grad within low and high.

    Of a tensor with one step; grad and x lie in memory alike.
    """
    passed = torch.empty_like(x)
    room_3N = torch.empty((3, min(_BLOCK, x.numel())))
    sums = []
    for parts in zip(_blocks(grad), _blocks(x), _blocks(found.codes), _blocks(passed), strict=True):
        given, taken, value = room_3N[:, : len(parts[0])]
        given.copy_(parts[0])
        taken.copy_(parts[1])
        _decode(found, parts[2], value)
        inside = pass_inside(given, taken, low, high)
        parts[3].copy_(inside)
        sums += [given.dot(value) - inside.dot(taken), given.sum() - inside.sum()]
    along, clipped = torch.stack(sums).view(-1, 2).sum(0)
    return passed, along, clipped


def _blocks(x: Tensor) -> Iterator[Tensor]:
    """The elements of a dense tensor in the order of memory, so many at a time."""
    flat = x.view(-1) if x.is_contiguous() else x.permute(0, 2, 3, 1).view(-1)
    return iter(torch.split(flat, _BLOCK))
