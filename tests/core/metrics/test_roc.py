"""ROC figures of a score: closed forms, ties, and the bootstrap's interval."""

import math

import numpy as np
import pytest
from hypothesis import given, strategies as st
from sklearn.metrics import roc_auc_score, roc_curve

from core.errors import BadInput
from core.metrics.roc import area, auc, bootstrap, counted, tpr_at

TWO_SIDES = st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=2, max_size=60).filter(
    lambda found: len({side for _, side in found}) == 2
)


def sides(members, others) -> tuple[np.ndarray, np.ndarray]:
    score = np.array([*members, *others], float)
    return score, np.repeat([True, False], [len(members), len(others)])


def test_auc_of_a_score_that_separates_is_one_and_of_the_reverse_zero():
    assert auc(*sides([3, 4], [1, 2])) == 1
    assert auc(*sides([1, 2], [3, 4])) == 0


def test_a_tie_counts_half():
    assert auc(*sides([1], [1])) == 0.5
    assert auc(*sides([1, 2], [1, 0])) == (0.5 + 1 + 1 + 1) / 4


def test_tpr_at_is_conservative_where_scores_are_equal():
    # the highest value holds one non-member of four: no threshold between a false alarm of 0 and of 25 %
    score, member = sides([5, 5, 5, 4], [5, 3, 2, 1])
    assert tpr_at(score, member, 0.0) == 0
    assert tpr_at(score, member, 0.24) == 0
    assert tpr_at(score, member, 0.25) == 1  # down to just above 3
    assert tpr_at(score, member, 1.0) == 1


def test_tpr_at_no_false_alarm_counts_members_above_every_other():
    assert tpr_at(*sides([9, 8, 1], [7, 2]), 0.0) == pytest.approx(2 / 3)


def test_two_normals_of_known_distance_have_the_known_area():
    """AUC = Φ(d/√2), and TPR at a false-alarm rate α = Φ(d - z(1-α))."""
    random = np.random.default_rng(0)
    score, member = sides(random.normal(1, 1, 200_000), random.normal(0, 1, 200_000))
    assert auc(score, member) == pytest.approx(0.5 * (1 + math.erf(0.5)), abs=0.003)
    assert tpr_at(score, member, 0.01) == pytest.approx(0.0924, abs=0.004)


@given(TWO_SIDES)
def test_auc_is_scikit_learns(found):
    score, member = np.array([v for v, _ in found], float), np.array([side for _, side in found])
    assert auc(score, member) == pytest.approx(roc_auc_score(member, score))


@given(TWO_SIDES, st.sampled_from((0.0, 0.01, 0.1, 0.25, 0.5, 1.0)))
def test_tpr_is_the_highest_step_of_the_roc_curve_within_the_rate(found, rate):
    score, member = np.array([v for v, _ in found], float), np.array([side for _, side in found])
    fpr, tpr, _ = roc_curve(member, score, drop_intermediate=False)
    assert tpr_at(score, member, rate) == pytest.approx(max(tpr[fpr <= rate + 1e-9]))


@given(TWO_SIDES, st.randoms(use_true_random=False))
def test_the_order_of_images_changes_nothing(found, random):
    mixed = random.sample(found, len(found))
    (one, other) = (
        (np.array([v for v, _ in some], float), np.array([side for _, side in some]))
        for some in (found, mixed)
    )
    assert auc(*one) == auc(*other)
    assert tpr_at(*one, 0.1) == tpr_at(*other, 0.1)


@pytest.mark.parametrize("members", [[], [1.0, 2.0]])
def test_a_side_without_samples_is_refused(members):
    others = [] if members else [1.0]
    with pytest.raises(BadInput, match="one of the two is missing"):
        auc(*sides(members, others))


def test_a_score_that_is_no_number_is_refused():
    with pytest.raises(BadInput, match="finite"):
        tpr_at(*sides([1.0, math.nan], [0.0]), 0.1)


def test_the_bootstrap_is_the_generators_and_covers_the_truth():
    truth, inside = 0.5 * (1 + math.erf(0.5)), 0
    for seed in range(40):
        random = np.random.default_rng(seed)
        counts = counted(*sides(random.normal(1, 1, 150), random.normal(0, 1, 150)))
        found = bootstrap(counts, area, np.random.default_rng(1), resamples=200)
        assert found == bootstrap(counts, area, np.random.default_rng(1), resamples=200)
        assert found.low < found.value < found.high
        inside += found.low <= truth <= found.high
    assert inside >= 34  # 38 of 40 are to be expected


def test_the_interval_has_the_width_of_the_closed_form():
    """Hanley and McNeil (1982), at an area of one half: variance (m + n + 1) / (12 m n)."""
    random = np.random.default_rng(3)
    counts = counted(*sides(random.random(400), random.random(600)))
    found = bootstrap(counts, area, np.random.default_rng(4), resamples=1000)
    width = 2 * 1.96 * math.sqrt(1001 / (12 * 400 * 600))
    assert found.high - found.low == pytest.approx(width, rel=0.1)
