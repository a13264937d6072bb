"""What `precision=auto` means: bfloat16 on CUDA; on CPUs what whoever runs the training chose, unless set float32.

Nodes choose bfloat16 where a processor multiplies it natively and `bfloat16_share` confirms that it pays, see
`tasks.nodes.arithmetic`. Whoever calls `core` alone gets the same numbers on every processor.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Literal

from core.lazy import F, torch
from core.train.params import Precision

Chosen = Literal["float32", "bfloat16"]

_MEANT: ContextVar[Chosen | None] = ContextVar("auto_precision", default=None)


@contextmanager
def auto_precision(meant: Chosen) -> Iterator[None]:
    """While active, `auto` means this."""
    token = _MEANT.set(meant)
    try:
        yield
    finally:
        _MEANT.reset(token)


def chosen_precision(device: torch.device, precision: Precision) -> Chosen:
    """The precision itself, or what `auto` means on the device."""
    if precision != "auto":
        return precision
    return _MEANT.get() or ("bfloat16" if device.type == "cuda" else "float32")


def autocast(device: torch.device, precision: Precision) -> torch.autocast:
    """bfloat16 autocast where asked for; quantizers compute in float32 inside it all the same."""
    enabled = chosen_precision(device, precision) == "bfloat16"
    return torch.autocast(device.type, torch.bfloat16, enabled=enabled)


@cache
def bfloat16_share() -> float:
    """A convolution in bfloat16, forward and backward, over one in float32; 1 where it is not multiplied natively.

    Takes a fifth of a second. A processor that has the instructions takes about half the time, so that a
    measurement would have to be wrong by a factor of two to say otherwise.
    """
    from core import cpu  # torch

    if not cpu.multiplies_bfloat16():
        return 1.0
    x, w = (
        torch.ones(shape).to(memory_format=torch.channels_last)
        for shape in ((16, 64, 16, 16), (64, 64, 3, 3))
    )

    def step(dtype: torch.dtype) -> None:
        images, kernel = x.to(dtype), w.to(dtype)
        out = F.conv2d(images, kernel, padding=1)
        torch.ops.aten.convolution_backward(
            out, images, kernel, None, [1, 1], [1, 1], [1, 1], False, [0, 0], 1, [True, True, False]
        )

    return cpu.share_of_time(lambda: step(torch.bfloat16), lambda: step(torch.float32))
