"""What the trials of one problem have in common: computed by the first that needs it."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

from core.lazy import torch
from core.train import compile_seconds

T = TypeVar("T")
Memory = dict[Hashable, tuple[Any, float]]  # values with the seconds that they took


class Shared:
    """Values that follow from a problem and a key alone; nobody may change one.

    saved: seconds that the values found here took when they were computed. A trial's run time counts them, as
    if it had been the only one.
    """

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self.saved = 0.0

    def once(self, key: Hashable, compute: Callable[[], T]) -> T:
        """The value of a key. `compute` must not draw from a trial's generator: only the first trial would."""
        if key in self._memory:
            value, seconds = self._memory[key]
            self.saved += seconds
        else:
            start, compiling = time.perf_counter(), compile_seconds()
            value = compute()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            seconds = time.perf_counter() - start - (compile_seconds() - compiling)
            self._memory[key] = value, seconds
        found: T = value
        return found
