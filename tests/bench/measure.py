"""Repetitions side by side in one process, and what is kept of them."""

import gc
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Literal, TypeVar

import torch


@dataclass(frozen=True)
class Effort:
    """repeats: rounds of every comparison. tiny: the smallest sizes, which show only that everything works."""

    repeats: int
    tiny: bool = False


FULL, QUICK = Effort(repeats=7), Effort(repeats=1, tiny=True)
Case = TypeVar("Case")


def of_this_machine(effort: Effort, tiny: Case, cpu: Sequence[Case], cuda: Sequence[Case]) -> list[Case]:
    """The cases to measure: where there is a GPU nobody trains on CPUs, and time there is dear."""
    if effort.tiny:
        return [tiny]
    return list(cuda if torch.cuda.is_available() else cpu)


@dataclass(frozen=True)
class Target:
    """What a variant should reach: its median time per unit in seconds, or that against the baseline's."""

    variant: str
    of: Literal["ratio", "seconds", "seconds more"]
    at_most: float


@dataclass(frozen=True)
class Comparison:
    """Variants of one piece of work, measured in turns.

    seconds: every repetition of every variant, as measured. units: pieces of work (steps, nodes, …) in a
    repetition. items: what a unit consists of (images, nodes), for the rate; 0 where a rate says nothing.
    baseline: the variant the others are compared with, or None.
    """

    benchmark: str
    case: str
    unit: str
    seconds: dict[str, list[float]]
    units: int = 1
    items: int = 0
    item: str = ""
    baseline: str | None = None
    target: Target | None = None

    def per_unit(self, variant: str) -> list[float]:
        """Seconds per unit of each repetition."""
        return [total / self.units for total in self.seconds[variant]]

    def median(self, variant: str) -> float:
        """Median seconds per unit."""
        return median(self.per_unit(variant))

    def rate(self, variant: str) -> float | None:
        """Items per second at the median."""
        return self.items / self.median(variant) if self.items else None

    def ratio(self, variant: str) -> float | None:
        """Ratio of the medians, variant over baseline; None for the baseline itself."""
        if self.baseline is None or variant == self.baseline:
            return None
        return self.median(variant) / self.median(self.baseline)

    def reached(self) -> float | None:
        """What the target's variant came to, in the target's own measure; None without a target."""
        if self.target is None:
            return None
        value = self.median(self.target.variant)
        if self.target.of == "seconds":
            return value
        assert self.baseline is not None, "a relative target needs a baseline"
        base = self.median(self.baseline)
        return value / base if self.target.of == "ratio" else value - base

    def met(self) -> bool | None:
        """Whether the target was reached; None without one."""
        reached = self.reached()
        return None if self.target is None or reached is None else reached <= self.target.at_most

    def towards(self, target: Target) -> "Comparison":
        """The same measurement with a target."""
        return replace(self, target=target)


def side_by_side(
    variants: Mapping[str, Callable[[], object]],
    repeats: int,
    *,
    warm_ups: int = 1,
    pause: float = 0.0,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """Seconds of every repetition of each variant, the variants taking turns.

    Whatever else the machine does in the meantime then hits all of them alike. Each round starts with
    another variant, so that none always follows the same neighbour; garbage is collected between timings.
    pause: seconds of doing nothing before each repetition, which are not timed. clock: wall time unless told.
    """
    names = list(variants)
    for name in names * warm_ups:
        variants[name]()
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for number in range(repeats):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            gc.collect()
            time.sleep(pause)
            start = clock()
            variants[name]()
            seconds[name].append(clock() - start)
    return seconds
