"""Which trials share a GPU: arithmetic on measured memory, in bytes; no clocks, no workers.

Ray knows nothing of a GPU's memory. A node's expected peak is what others of its class reserved; inf stands
for one that nobody has measured, and that gets a GPU to itself.
"""

import math
from collections.abc import Iterable

_MARGIN = 1.15  # of another forget set, another seed, and what the worker still keeps warm
_BLOCKS = 128 * 2**20  # the allocator takes memory in blocks of up to 20 MiB, and keeps some of each size
_CONTEXT = 512 * 2**20  # a CUDA process beside what its allocator reserves


def limit(peak: float) -> float:
    """The most that a node's allocator may reserve: its expected peak with a margin."""
    return _MARGIN * peak + _BLOCKS


def demand(peak: float) -> float:
    """What a node takes of its GPU at most."""
    return limit(peak) + _CONTEXT


def room(total: int, peaks: Iterable[float]) -> float:
    """The largest expected peak that fits beside nodes of these peaks; inf if there are none.

    total: the GPU's memory; 0 where it is not known, which leaves no room beside anything.
    """
    taken = [demand(peak) for peak in peaks]
    return (total - sum(taken) - _CONTEXT - _BLOCKS) / _MARGIN if taken else math.inf


def share(total: int, peak: float) -> float:
    """The share (0-1) of a GPU's memory that a node's allocator may reserve; the whole of it if nobody knows."""
    return min(1.0, limit(peak) / total) if total else 1.0
