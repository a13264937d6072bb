"""The clock of a method's run time (RTE): it stands still while something else is done."""

from __future__ import annotations

import time
from collections.abc import Callable

from core.lazy import nn, torch
from core.train import AfterEpoch, EpochFacts, compile_seconds


class MethodClock:
    """Wall-clock seconds without those of compilation and of what is measured for charts alone."""

    def __init__(self) -> None:
        self._aside = 0.0

    def now(self) -> float:
        """Seconds since some moment."""
        return time.perf_counter() - compile_seconds() - self._aside

    def timed(self, work: Callable[[], nn.Module]) -> tuple[nn.Module, float]:
        """The work's model and its seconds, accelerator included."""
        start = self.now()
        model = work()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        return model, self.now() - start

    def untimed(self, measure: AfterEpoch) -> AfterEpoch:
        """The same measurement, with the clock stopped. It must wait for the accelerator itself."""

        def stopped(model: nn.Module) -> EpochFacts:
            start = self.now()
            facts = measure(model)
            self._aside += self.now() - start
            return facts

        return stopped
