"""KLoM against numpy's histograms and scipy's entropy, its floors, and its ceiling."""

import numpy as np
import pytest
from scipy.stats import entropy

from core.errors import BadInput
from core.metrics.klom import klom


def drawn(models: int, images: int, shift: float = 0.0, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(shift, 1, (models, images))


def slowly(unlearned: np.ndarray, oracle: np.ndarray, bins: int = 20) -> float:
    unlearned, oracle = np.clip(unlearned, -100, 100), np.clip(oracle, -100, 100)
    edges = np.linspace(min(unlearned.min(), oracle.min()), max(unlearned.max(), oracle.max()), bins + 1)
    p, q = (np.histogram(side, edges)[0] / len(side) for side in (unlearned, oracle))
    return entropy(p, np.where(p > 0, np.maximum(q, 1e-5), q))


@pytest.mark.parametrize(("models", "bins"), [(5, 20), (64, 20), (64, 7)])
def test_klom_is_the_divergence_of_two_histograms(models, bins):
    unlearned, oracle = drawn(models, 50, 0.8, seed=1) * 60, drawn(models + 3, 50, seed=2) * 60
    expected = [slowly(unlearned[:, k], oracle[:, k], bins) for k in range(50)]
    assert klom(unlearned, oracle, bins) == pytest.approx(expected, abs=1e-12)


def test_values_on_edges_count_where_numpy_counts_them():
    unlearned = np.arange(21.0)[:, None] / 10
    oracle = unlearned[::-1] * 0 + np.array([[0.0, 2.0]] * 10 + [[1.0, 1.0]] * 11)[:, :1]
    assert klom(unlearned, oracle)[0] == pytest.approx(slowly(unlearned[:, 0], oracle[:, 0]), abs=1e-12)


@pytest.mark.parametrize(("models", "floor"), [(10, 5.5), (20, 3.1), (50, 0.87), (100, 0.35), (500, 0.05)])
def test_retrained_models_against_retrained_ones_give_the_floor(models, floor):
    assert klom(drawn(models, 400, seed=3), drawn(models, 400, seed=4)).mean() == pytest.approx(
        floor, rel=0.12
    )


def test_the_same_margins_are_at_no_distance_and_far_ones_at_the_ceiling():
    same = drawn(8, 3)
    assert klom(same, same) == pytest.approx([0, 0, 0], abs=1e-12)
    assert klom(np.full((4, 1), 2.0), np.full((4, 1), 2.0)).tolist() == [0]
    assert klom(np.full((4, 1), 900.0), np.full((4, 1), -900.0)) == pytest.approx([np.log(1e5)], abs=1e-4)


def test_order_of_models_and_images_changes_nothing():
    unlearned, oracle = drawn(16, 30, 0.5, seed=7), drawn(16, 30, seed=8)
    images = np.random.default_rng(10).permutation(30)
    assert klom(unlearned[::-1, images], oracle[:, images]) == pytest.approx(klom(unlearned, oracle)[images])


def test_bins_are_at_least_one():
    with pytest.raises(BadInput, match="bins=0"):
        klom(drawn(3, 2), drawn(3, 2), bins=0)
