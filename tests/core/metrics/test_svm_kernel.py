"""Kernel columns rounded as libsvm rounds them."""

import math

import numpy as np
import pytest

from core.metrics.svm import kernel
from core.metrics.svm.kernel import GaussianColumns, kernel_sums


def libsvm_column(values: np.ndarray, centre: float) -> list[float]:
    arguments = (-(x * x + centre * centre - 2 * (x * centre)) for x in values.tolist())
    return [float(np.float32(math.exp(argument))) for argument in arguments]


def filled(values: np.ndarray, centre: float) -> np.ndarray:
    return GaussianColumns(values).column(centre)


@pytest.mark.parametrize("single", [True, False])
def test_a_column_is_libsvms_to_the_last_bit(single):
    random = np.random.default_rng(1)
    values = random.random(3000)
    values = values.astype(np.float32).astype(np.float64) if single else values
    for centre in [0.0, 1.0, *values[:10].tolist()]:
        assert filled(values, centre).tolist() == libsvm_column(values, centre)


def test_entries_next_to_a_tie_of_rounding_are_computed_as_libsvm_does(monkeypatch):
    """Where exp(-x²) is halfway between two float32 numbers, neighbouring doubles x fall on either side."""
    tie = (float(np.float32(0.75)) + float(np.nextafter(np.float32(0.75), np.float32(1)))) / 2
    x = math.sqrt(-math.log(tie))
    values = x + np.arange(-50, 50) * np.spacing(x)
    assert len(set(libsvm_column(values, 0.0))) == 2
    assert filled(values, 0.0).tolist() == libsvm_column(values, 0.0)
    exp = np.exp
    monkeypatch.setattr(np, "exp", lambda x, out: np.multiply(exp(x), 1 + 4e-15, out=out))
    assert filled(values, 0.0).tolist() == libsvm_column(values, 0.0)


def test_a_column_is_the_same_when_every_entry_is_in_doubt(monkeypatch):
    values = np.random.default_rng(2).random(500)
    usual = filled(values, 0.3)
    monkeypatch.setattr(kernel, "_UNSURE", kernel._HALF)
    assert np.array_equal(filled(values, 0.3), usual)


@pytest.mark.parametrize(("targets", "sources"), [(40, 900), (900, 40), (1, 1), (5, 0)])
def test_sums_are_the_same_in_every_order(targets, sources):
    random = np.random.default_rng(3)
    at, centres = random.integers(0, 200, targets) / 200, random.random(sources)
    weights = 3.0 * random.integers(-2, 3, sources)
    expected = [math.fsum(w * k for w, k in zip(weights, libsvm_column(centres, x), strict=True)) for x in at]
    assert kernel_sums(at, centres, weights).tolist() == expected
    backwards = kernel_sums(at, centres[::-1], weights[::-1])
    assert backwards.tolist() == expected


def test_columns_asked_for_again_are_the_same_whatever_was_asked_for_in_between():
    values = np.random.default_rng(4).random(50)
    columns = GaussianColumns(values)
    for centre in [0.5, 0.25, 0.5, *values[:20].tolist(), 0.25, 0.5, 0.25]:
        assert columns.column(centre).tolist() == libsvm_column(values, centre)
    one, other = columns.column(0.1), columns.column(0.9)
    assert one.tolist() == libsvm_column(values, 0.1)
    assert other.tolist() == libsvm_column(values, 0.9)
