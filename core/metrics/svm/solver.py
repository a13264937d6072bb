"""The solver of libsvm's C-SVC for one feature and as many samples of either label, in numpy.

The same steps with the same numbers as Solver in libsvm's svm.cpp: its second-order choice of two samples
(Fan, Chen and Lin, JMLR 6, 2005), its shrinking of the samples it looks at and the order that this leaves
them in, which decides between equals, and its tolerance. libsvm takes one exp at a time; here a whole column
of the kernel matrix is a handful of array operations.

libsvm's y·alpha is `beta` here and its -y·gradient is `rise`: with these a step has one form for all labels,
and a sign changes no rounding. While all multipliers are 0 or C every rise is exact: a float32 in [1/4, 1]
is a multiple of 2⁻²⁵, so sums of these times 3 fit a double, in whatever order they are taken.
"""

import math

import numpy as np

from core.metrics.svm.kernel import GaussianColumns, kernel_sums

_C = 3.0
_TOLERANCE = 1e-3
_LEAST_CURVATURE = 1e-12
_PERIOD = 1000  # steps between two shrinkings


class Solver:
    """Sequential minimal optimisation; arrays are in libsvm's order, of which the first are active.

    Attributes:
        beta: label times multiplier of each sample, from top - 3 to top.
        up: rise of each sample whose beta can still grow, -inf for others.
        low: rise of each sample whose beta can still fall, inf for others.
    """

    def __init__(self, values: np.ndarray, labels: np.ndarray) -> None:
        self._sample = np.arange(len(values))  # which sample is at a position
        self._all_values, self._values = values, values.copy()
        self._top = np.where(labels > 0, _C, 0.0)
        self.beta = np.zeros(len(values))
        self.up = np.where(labels > 0, labels, -np.inf)
        self.low = np.where(labels > 0, np.inf, labels)
        self._bound_rise = labels.copy()  # rise as if free multipliers were 0; exact
        self._shrunk: list[tuple[slice, np.ndarray]] = []  # where, and the bound multipliers at the time
        self._unshrunk = False
        self._activate(len(values))

    def solve(self) -> int:
        """Steps until no pair violates optimality by more than the tolerance; returns their number."""
        period = min(len(self.beta), _PERIOD)
        steps, countdown = 0, period + 1
        while True:
            countdown -= 1
            if countdown == 0:
                countdown = period
                self._shrink()
            pair = self._select()
            if pair is None:
                self._reconstruct()
                pair, countdown = self._select(), 1
            if pair is None:
                return steps
            self._step(*pair)
            steps += 1

    def offset(self) -> float:
        """libsvm's rho: the mean over free samples, or the middle of what the others allow."""
        free = self._free()
        if free.any():
            return float(np.cumsum(-self.up[free])[-1] / free.sum())  # sum() would add in another order
        return float((-self.up.max() - self.low.min()) / 2)

    def by_sample(self, values: np.ndarray) -> np.ndarray:
        """Values per position as values per sample."""
        found = np.empty_like(values)
        found[self._sample] = values
        return found

    def _activate(self, count: int) -> None:
        self._active = count
        self._kernel = GaussianColumns(self._values[:count])
        self._spare = np.empty(count)
        self._least = np.full(count, _LEAST_CURVATURE / 2)

    def _select(self) -> tuple[int, int] | None:
        """The sample that wants to rise most, and its partner of the greatest gain; the last among equals.

        None if they are optimal.
        """
        highest, lowest = self._extremes()
        if highest - lowest < _TOLERANCE:
            return None
        first = _last(self.up[: self._active] == highest)
        column = self._column(first)
        gain, curvature = self._spare, self._kernel.scratch
        np.subtract(highest, self.low[: self._active], out=gain)
        np.maximum(gain, self._least, out=gain)  # for those that are no partner; never the greatest
        np.multiply(gain, gain, out=gain)
        np.subtract(1.0, column, out=curvature)  # half of it, which changes no choice
        np.maximum(curvature, self._least, out=curvature)
        np.divide(gain, curvature, out=gain)
        return first, _last(gain == gain.max())

    def _extremes(self) -> tuple[float, float]:
        """The greatest rise of active samples that can still grow, and the least of those that can fall."""
        up, low = self.up[: self._active], self.low[: self._active]
        return float(up.max(initial=-np.inf)), float(low.min(initial=np.inf))

    def _step(self, i: int, j: int) -> None:
        """Moves the betas of two samples to the best of that direction, within bounds."""
        first, second = self._column(i), self._column(j)
        curvature = 2.0 - 2.0 * float(first[j])
        distance = (self._rise(i) - self._rise(j)) / (curvature if curvature > 0 else _LEAST_CURVATURE)
        old = float(self.beta[i]), float(self.beta[j])
        new = _clipped(*old, distance, float(self._top[i]), float(self._top[j]) - _C)
        self._move(first, old[0], new[0])
        self._move(second, old[1], new[1])
        change = np.multiply(first, new[0] - old[0], out=self._spare)
        change += np.multiply(second, new[1] - old[1], out=self._kernel.scratch)
        self.up[: self._active] -= change
        self.low[: self._active] -= change
        self._place(i, new[0])
        self._place(j, new[1])

    def _column(self, k: int) -> np.ndarray:
        return self._kernel.column(float(self._values[k]))

    def _move(self, column: np.ndarray, old: float, new: float) -> None:
        """What a beta that reaches or leaves a bound does to the rises as if free ones were 0."""
        if change := _bound(new) - _bound(old):
            self._bound_rise[: self._active] -= np.multiply(column, change, out=self._kernel.scratch)

    def _rise(self, k: int) -> float:
        rise = float(self.up[k])
        return float(self.low[k]) if rise == -math.inf else rise

    def _place(self, k: int, beta: float) -> None:
        rise, top = self._rise(k), float(self._top[k])
        self.beta[k] = beta
        self.up[k] = rise if beta < top else -math.inf
        self.low[k] = rise if beta > top - _C else math.inf

    def _free(self) -> np.ndarray:
        return np.isfinite(self.up) & np.isfinite(self.low)

    def _shrink(self) -> None:
        """Takes samples at a bound that will probably stay there out of the active ones, to behind them."""
        highest, lowest = self._extremes()
        if not self._unshrunk and highest - lowest <= 10 * _TOLERANCE:
            self._unshrunk = True
            self._reconstruct()
        up, low = self.up[: self._active], self.low[: self._active]
        gone = np.where(np.isneginf(up), low > highest, np.isposinf(low) & (up < lowest))
        kept = self._active - int(gone.sum())
        if kept == self._active:
            return
        self._swap(np.flatnonzero(gone[:kept]), kept + np.flatnonzero(~gone[kept:])[::-1])
        self._shrunk.append((slice(kept, self._active), self._bound_by_sample()))
        self._activate(kept)

    def _swap(self, some: np.ndarray, others: np.ndarray) -> None:
        for held in (self._sample, self._values, self._top, self.beta, self.up, self.low, self._bound_rise):
            held[some], held[others] = held[others], held[some]

    def _bound_by_sample(self) -> np.ndarray:
        return self.by_sample(np.where(self._free(), 0.0, self.beta))

    def _reconstruct(self) -> None:
        """Makes all samples active, those shrunk with the rises that follow from all multipliers."""
        if self._active == len(self.beta):
            return
        self._catch_up()
        shrunk = slice(self._active, None)
        rise, kernel = self._bound_rise[shrunk].copy(), GaussianColumns(self._values[shrunk])
        for k in np.flatnonzero(self._free()):
            rise -= self.beta[k] * kernel.column(float(self._values[k]))
        self.up[shrunk] = np.where(self.beta[shrunk] < self._top[shrunk], rise, -np.inf)
        self.low[shrunk] = np.where(self.beta[shrunk] > self._top[shrunk] - _C, rise, np.inf)
        self._activate(len(self.beta))

    def _catch_up(self) -> None:
        """The bound multipliers that changed since samples were shrunk, added to what they knew then."""
        bound = self._bound_by_sample()
        for where, before in self._shrunk:
            changed = np.flatnonzero(bound != before)
            change = (bound - before)[changed]
            self._bound_rise[where] -= kernel_sums(self._values[where], self._all_values[changed], change)
        self._shrunk.clear()


def _clipped(i: float, j: float, distance: float, top: float, bottom: float) -> tuple[float, float]:
    """Two betas after one has risen and the other fallen by a distance; the first to reach its bound stops both."""
    total, limit = i + j, top + bottom
    if total > limit if top > 0 else total >= limit:
        return (top, total - top) if i + distance > top else (i + distance, j - distance)
    return (total - bottom, bottom) if j - distance < bottom else (i + distance, j - distance)


def _bound(beta: float) -> float:
    return beta if abs(beta) >= _C else 0.0


def _last(where: np.ndarray) -> int:
    return int(np.flatnonzero(where)[-1])
