"""Columns of the kernel matrix exp(-(x - c)²), each entry the float32 number that libsvm would hold."""

import math

import numpy as np

_HALF = 1 << 28  # half a float32's last place, counted in a double's
_UNSURE = 64  # last places of a double; numpy's exp and the other form of the argument are worth a dozen


class GaussianColumns:
    """One column after another at the same values, in the same memory.

    libsvm takes the double exp(-(x² + c² - 2xc)) and rounds it to float32. numpy's exp is many times faster
    and may differ in the last places of the double, which next to never decides how it is rounded; where it
    could, the entry is computed as libsvm does, with the C library's exp.

    Attributes:
        values: float64, one per row.
        scratch: float64, as long; overwritten by every column and free for use in between.
    """

    def __init__(self, values: np.ndarray) -> None:
        self.values, self.scratch = values, np.empty(len(values))
        self._single = np.empty(len(values), np.float32)

    def fill(self, column: np.ndarray, centre: float) -> None:
        """Writes the entries for a centre into a float64 column."""
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
    rows, row, sums = GaussianColumns(centres), np.empty(len(centres)), np.empty(len(at))
    for k, value in enumerate(at.tolist()):
        rows.fill(row, value)
        sums[k] = row @ weights
    return sums


def _column_sums(at: np.ndarray, centres: np.ndarray, weights: np.ndarray) -> np.ndarray:
    columns, column, sums = GaussianColumns(at), np.empty(len(at)), np.zeros(len(at))
    for centre, weight in zip(centres.tolist(), weights.tolist(), strict=True):
        columns.fill(column, centre)
        np.multiply(column, weight, out=column)
        np.add(sums, column, out=sums)
    return sums
