"""Which batches hold the images to forget: amnesiac unlearning undoes every batch that does."""

from __future__ import annotations

import math

from core.lazy import Tensor, torch


def gathered(order_N: Tensor, sensitive_N: Tensor, size: int, share: float, own: torch.Generator) -> Tensor:
    """An epoch's order in which sensitive images lie in about a share of the batches only.

    Args:
        order_N: int64 on the CPU, the images in shuffled order; among themselves, both kinds keep theirs.
        sensitive_N: bool, by image. size: images of a batch.
        share: of the batches, in (0, 1]; more if they do not hold all sensitive images.
        own: draws which batches.
    """
    chosen_N = sensitive_N[order_N]
    apart, rest = order_N[chosen_N], order_N[~chosen_N]
    sizes = [size] * (len(order_N) // size) + ([len(order_N) % size] if len(order_N) % size else [])
    drawn = torch.randperm(len(sizes), generator=own).tolist()
    count = max(math.ceil(share * len(sizes)), 1)
    while sum(sizes[number] for number in drawn[:count]) < len(apart):
        count += 1
    held = _divided(len(apart), [sizes[number] for number in drawn[:count]])
    here = dict(zip(drawn[:count], held, strict=True))
    parts, first, other = [], 0, 0
    for number, length in enumerate(sizes):
        few = here.get(number, 0)
        parts += [apart[first : first + few], rest[other : other + length - few]]
        first, other = first + few, other + length - few
    return torch.cat(parts)


def _divided(total: int, rooms: list[int]) -> list[int]:
    """So many images over batches with room for so many each, as evenly as the rooms allow."""
    held = [0] * len(rooms)
    while total:
        open_rooms = [i for i, room in enumerate(rooms) if held[i] < room]
        for i in open_rooms[:total]:
            held[i] += 1
        total -= min(total, len(open_rooms))
    return held
