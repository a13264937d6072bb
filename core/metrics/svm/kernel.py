"""Columns of the kernel matrix exp(-(x - c)²), each entry the float32 number that libsvm would hold."""

import math

import numpy as np

_KEPT = 8  # columns; confidences are often alike, and two of them may take turns for long
_HALF = 1 << 28  # half a float32's last place, counted in a double's
_UNSURE = 64  # last places of a double; numpy's exp and the other form of the argument are worth a dozen


class GaussianColumns:
    """Columns at the same values for one centre after another; the last few are kept.

    libsvm takes the double exp(-(x² + c² - 2xc)) and rounds it to float32. numpy's exp is many times faster
    and may differ in the last places of the double, which next to never decides how it is rounded; where it
    could, the entry is computed as libsvm does, with the C library's exp.

    Attributes:
        values: float64, one per row.
        scratch: float64, as long; overwritten by every new column and free for use in between.
    """

    def __init__(self, values: np.ndarray) -> None:
        self.values, self.scratch = values, np.empty(len(values))
        self._single = np.empty(len(values), np.float32)
        self._kept: dict[float, np.ndarray] = {}  # by centre, the least recently asked for first

    def column(self, centre: float) -> np.ndarray:
        """The entries for a centre, float64, to be read only and before many others are asked for."""
        column = self._kept.pop(centre, None)
        if column is None:
            full = len(self._kept) == _KEPT
            column = self._kept.pop(next(iter(self._kept))) if full else np.empty(len(self.values))
            self._fill(column, centre)
        self._kept[centre] = column
        return column

    def _fill(self, column: np.ndarray, centre: float) -> None:
        double = self.scratch
        np.subtract(self.values, centre, out=double)
        np.multiply(double, double, out=double)
        np.negative(double, out=double)
        np.exp(double, out=double)
        np.copyto(self._single, double, casting="same_kind")
        np.copyto(column, self._single)
        self._settle(column, centre)

    def _settle(self, column: np.ndarray, centre: float) -> None:
        lost = self.scratch.view(np.int64)
        np.subtract(lost, column.view(np.int64), out=lost)
        if lost.max() < _HALF - _UNSURE and lost.min() > _UNSURE - _HALF:
            return
        for k in np.flatnonzero(np.abs(lost) >= _HALF - _UNSURE):
            x = float(self.values[k])
            column[k] = np.float32(math.exp(-(x * x + centre * centre - 2 * (x * centre))))


def kernel_sums(at: np.ndarray, centres: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """For each of the values the sum of weight · float32 kernel over the centres.

    Exact, and so the same in any order, for weights that are multiples of 3 below 2²⁴ and distances up to 1.
    """
    targets, target = np.unique(at, return_inverse=True)
    sources, source = np.unique(centres, return_inverse=True)
    merged = np.bincount(source, weights, len(sources))
    if len(targets) < len(sources):
        return _row_sums(targets, sources, merged)[target]
    return _column_sums(targets, sources, merged)[target]


def _row_sums(at: np.ndarray, centres: np.ndarray, weights: np.ndarray) -> np.ndarray:
    rows = GaussianColumns(centres)
    return np.array([rows.column(value) @ weights for value in at.tolist()])


def _column_sums(at: np.ndarray, centres: np.ndarray, weights: np.ndarray) -> np.ndarray:
    columns, sums = GaussianColumns(at), np.zeros(len(at))
    for centre, weight in zip(centres.tolist(), weights.tolist(), strict=True):
        column = columns.column(centre)
        sums += np.multiply(column, weight, out=columns.scratch)
    return sums
