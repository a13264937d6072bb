"""Forgetting quality: every rule tried one by one, ties, the published exceptions, and its floors."""

import itertools
import math

import numpy as np
import pytest

from core.errors import BadInput
from core.metrics.forgetting_quality import epsilon, epsilons, final, score

DELTA = 1e-5


def slowly(unlearned: np.ndarray, retrained: np.ndarray) -> float:
    """ε over all thresholds and intervals between margins, each judged by itself."""
    spreads = np.ptp(unlearned), np.ptp(retrained)
    if min(spreads) < 0.01 * max(spreads):
        return 50.0
    values = np.unique(np.concatenate([unlearned, retrained]))
    cuts = [values[0] - 1, *((values[1:] + values[:-1]) / 2), values[-1] + 1]
    higher = np.median(retrained) > np.median(unlearned)
    high, low = (retrained, unlearned) if higher else (unlearned, retrained)
    within, beyond = (low, high) if np.ptp(high) >= np.ptp(low) else (high, low)
    rates = [(np.mean(low > t), np.mean(high <= t)) for t in cuts]
    for left, right in itertools.combinations(cuts, 2):
        caught, alarms = (np.mean((side > left) & (side < right)) for side in (within, beyond))
        rates.append((alarms, 1 - caught))
    return min(50.0, max((allowed(fpr, fnr) for fpr, fnr in rates), default=0.0))


def allowed(fpr: float, fnr: float) -> float:
    if fpr == 0 and fnr == 0:
        return math.inf
    if fpr == 0 or fnr == 0:
        return 0.0
    pairs = ((fpr, fnr), (fnr, fpr))
    return max([0.0, *(math.log(1 - DELTA - a) - math.log(b) for a, b in pairs if 1 - DELTA - a > 0)])


@pytest.mark.parametrize("models", [(2, 2), (5, 5), (12, 12), (7, 4)])
@pytest.mark.parametrize("shift", [0.0, 1.0, 4.0])
@pytest.mark.parametrize("digits", [None, 0])  # with none, many margins are equal
def test_epsilon_is_the_largest_of_all_rules(models, shift, digits):
    random = np.random.default_rng(1)
    for _ in range(12):
        unlearned, retrained = random.normal(shift, 1.5, models[0]), random.normal(0, 1, models[1])
        if digits is not None:
            unlearned, retrained = unlearned.round(digits), retrained.round(digits)
        assert epsilon(unlearned, retrained) == pytest.approx(slowly(unlearned, retrained), abs=1e-9)


def test_epsilons_of_many_images_are_those_of_each_one_in_any_order():
    random = np.random.default_rng(2)
    unlearned, retrained = random.normal(1, 1, (16, 300)), random.normal(0, 1, (16, 300))
    found = epsilons(unlearned, retrained)
    each = [epsilon(unlearned[:, k], retrained[:, k]) for k in range(0, 300, 50)]
    assert found[::50] == pytest.approx(each)
    assert epsilons(unlearned[::-1, ::-1], retrained[::-1, ::-1]) == pytest.approx(found[::-1])


def test_models_that_are_always_told_apart_get_the_cap():
    assert epsilon([5.0, 6, 7], [1.0, 2, 3]) == 50
    assert epsilon([4.0, 5, 6], [1.0, 2, 9]) == 50  # within an interval
    assert epsilon([4.0, 4.001, 4], [1.0, 5, 9]) == 50  # a hundredth of the other's range
    assert epsilon([4.0, 4, 4], [4.0, 4, 4]) == 0


@pytest.mark.parametrize(("models", "floor"), [(8, 0.18), (16, 0.13), (32, 0.10), (64, 0.08)])
def test_retrained_models_against_retrained_ones_give_the_floor(models, floor):
    random = np.random.default_rng(3)
    found = epsilons(random.normal(0, 1, (models, 2000)), random.normal(0, 1, (models, 2000)))
    assert score(found) == pytest.approx(floor, abs=0.011)


def test_score_halves_with_every_bin_of_half_a_unit():
    assert score([0.0, 0.49]) == 1
    assert score([0.5]) == 0.5
    assert score([1.7, 0.2]) == (2**-3 + 1) / 2
    assert score([50.0, math.inf]) == 2**-12
    assert score([50.0], bins=14) == 2**-13


def test_the_final_score_weighs_by_what_is_left_of_both_accuracies():
    assert final(0.5, (90, 100), (80, 64)) == pytest.approx(0.5 * 0.9 * 1.25)


def test_what_has_no_quality_is_told_in_a_line():
    with pytest.raises(BadInput, match="unlearned: 1 models, where the attack needs at least 2"):
        epsilon([1.0], [1.0, 2.0])
    with pytest.raises(BadInput, match="these are 0 and 13"):
        score([])
