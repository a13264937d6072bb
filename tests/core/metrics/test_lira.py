"""LiRA and U-LiRA: closed forms of two normals, the slow way of leaving one out, and what a shuffle must not change."""

import numpy as np
import pytest
from scipy.stats import norm

from core.errors import BadInput
from core.metrics.lira import offline, online, u_lira
from core.metrics.roc import auc


def drawn(models: int, images: int, shift: float = 0.0, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(shift, 1, (models, images))


def left_out_slowly(unlearned: np.ndarray, retrained: np.ndarray) -> float:
    """One image's accuracy, a fit for every model."""
    sides = (unlearned, retrained)
    rates = []
    for own, other in (sides, sides[::-1]):
        right = 0.0
        for k, x in enumerate(own):
            rest = np.delete(own, k)
            ours = norm.logpdf(x, rest.mean(), rest.std(ddof=1))
            right += ours > norm.logpdf(x, other.mean(), other.std(ddof=1))
        rates.append(right / len(own))
    return sum(rates) / 2


def test_u_lira_fits_normals_to_all_models_but_the_one_it_judges():
    unlearned, retrained = drawn(9, 40, 0.7, seed=1), drawn(12, 40, seed=2)
    expected = [left_out_slowly(unlearned[:, k], retrained[:, k]) for k in range(40)]
    assert u_lira(unlearned, retrained) == pytest.approx(expected, abs=1e-12)


def test_u_lira_of_two_normals_of_known_distance_is_the_best_accuracy_there_is():
    """Φ(d/2) for normals of deviation 1 whose centres are d apart."""
    found = u_lira(drawn(256, 2000, 1.5, seed=3), drawn(256, 2000, seed=4)).mean()
    assert found == pytest.approx(norm.cdf(0.75), abs=0.003)


def test_u_lira_of_one_population_is_a_coin():
    assert u_lira(drawn(16, 4000, seed=5), drawn(16, 4000, seed=6)).mean() == pytest.approx(0.5, abs=0.01)
    alike = np.full((5, 3), 2.5)
    assert u_lira(alike, alike).tolist() == [0.5] * 3


def test_u_lira_tells_apart_what_never_overlaps():
    assert u_lira(drawn(6, 4, 100.0), drawn(6, 4)).tolist() == [1.0] * 4


def test_order_of_models_and_images_changes_nothing():
    unlearned, retrained = drawn(8, 30, 0.5, seed=7), drawn(8, 30, seed=8)
    models, images = np.random.default_rng(9).permutation(8), np.random.default_rng(10).permutation(30)
    found = u_lira(unlearned, retrained)
    assert u_lira(unlearned[models], retrained) == pytest.approx(found, abs=1e-12)
    assert u_lira(unlearned[:, images], retrained[:, images]) == pytest.approx(found[images], abs=1e-12)


def test_online_is_the_log_ratio_of_two_densities_about_medians():
    target, within, out = drawn(1, 20)[0], drawn(7, 20, 2.0, seed=1), drawn(6, 20, seed=2)
    sides = [norm.logpdf(target, np.median(s, 0), s.std(0)) for s in (within, out)]
    assert online(target, within, out) == pytest.approx(sides[0] - sides[1])
    fixed = [norm.logpdf(target, np.median(s, 0), s.std()) for s in (within, out)]
    assert online(target, within, out, fixed_variance=True) == pytest.approx(fixed[0] - fixed[1])


def test_offline_counts_deviations_above_the_centre():
    out = np.array([[0.0, 1], [1, 1], [5, 4]])
    assert offline([3.0, 1], out) == pytest.approx([2 / np.std([0, 1, 5]), 0])


def test_online_of_two_normals_of_known_distance_has_the_known_area():
    """AUC = Φ(d/√2)."""
    images = 20_000
    member = np.arange(images) % 2 == 0
    target = drawn(1, images, seed=3)[0] + np.where(member, 1.0, 0.0)
    score = online(target, drawn(64, images, 1.0, seed=4), drawn(64, images, seed=5), fixed_variance=True)
    assert auc(score, member) == pytest.approx(norm.cdf(1 / np.sqrt(2)), abs=0.01)


@pytest.mark.parametrize(
    ("call", "line"),
    [
        (lambda: u_lira(drawn(2, 4), drawn(3, 4)), "unlearned: 2 models, where the attack needs at least 3"),
        (lambda: u_lira(drawn(3, 4), drawn(3, 5)), "unlearned is about 4 images, retrained about 5"),
        (lambda: u_lira(drawn(3, 4), np.full((3, 4), np.nan)), "retrained: some margins are not finite"),
        (lambda: u_lira(drawn(3, 4)[0], drawn(3, 4)), "models × images, these have 1 dimensions"),
        (lambda: online(np.zeros(4), np.empty((0, 4)), drawn(3, 4)), "in: 0 models"),
        (lambda: offline(np.zeros(3), drawn(3, 4)), "target is about 3 images"),
    ],
)
def test_what_cannot_be_attacked_is_told_in_a_line(call, line):
    with pytest.raises(BadInput, match=line):
        call()
