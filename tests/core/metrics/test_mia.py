"""The membership attack of the tables: what it measures, and that it is scikit-learn's SVC to the last sample."""

import numpy as np
import pytest
from sklearn.svm import SVC

from core.errors import BadInput
from core.metrics import mia
from core.metrics.mia import members, svc_mia
from core.metrics.svm.svc import train_svc
from tests.bench.confidences import MODELS, Confidences, confidences


def test_mia_of_planted_confidences():
    insiders, strangers = np.ones(50), np.zeros(50)
    assert svc_mia(insiders, strangers, np.zeros(10)) == 100
    assert svc_mia(insiders, strangers, np.ones(10)) == 0


def test_mia_counts_forget_samples_judged_non_members():
    assert svc_mia(np.ones(50), np.zeros(50), np.array([0.0, 0.0, 0.0, 1.0])) == 75


def test_mia_of_a_constant_model_is_all_or_nothing():
    assert svc_mia(np.full(30, 0.4), np.full(30, 0.4), np.full(7, 0.4)) in (0, 100)


def test_mia_learns_from_the_first_retained_samples_as_many_as_test_samples():
    retain = np.concatenate([np.ones(40), np.zeros(400)])  # only the first 40 are read
    assert svc_mia(retain, np.full(40, 0.5), np.ones(5)) == 0


def test_mia_cuts_the_test_set_when_it_is_the_longer_one():
    test = np.concatenate([np.zeros(40), np.ones(400)])
    assert svc_mia(np.full(40, 0.5), test, np.ones(5)) == 0


@pytest.mark.parametrize("part", range(3))
@pytest.mark.parametrize("value", [np.nan, -0.1, 1.5])
def test_mia_of_something_else_than_probabilities_is_refused(part, value):
    given = [np.full(4, 0.5, np.float32) for _ in range(3)]
    given[part][2] = value
    with pytest.raises(BadInput, match="probabilities"):
        svc_mia(*given)


# --- the same predictions as plain scikit-learn


def plain_attacker(given: Confidences) -> SVC:
    known = np.concatenate([given.retain, given.test]).astype(np.float64).reshape(-1, 1)
    label = np.array([1] * len(given.retain) + [0] * len(given.test))
    return SVC(C=3, kernel="rbf", gamma="auto").fit(known, label)


def plain_predictions(attacker, confidence):
    return attacker.predict(confidence.astype(np.float64).reshape(-1, 1))


def assert_same_attack(given: Confidences) -> None:
    """Steps, support vectors, coefficients, offset and every prediction are equal, not close."""
    plain, ours = plain_attacker(given), train_svc(given.test, given.retain)
    n = len(given.test)
    assert ours.steps == plain.n_iter_[0]
    assert np.array_equal((ours.support + n) % (2 * n), plain.support_)  # its retained samples come first
    assert np.array_equal(-ours.coefficients, plain.dual_coef_[0])
    assert ours.offset == plain.intercept_[0]
    expected = plain_predictions(plain, given.forget)
    assert np.array_equal(members(ours, given.forget), expected == 1)
    assert svc_mia(*given) == 100 * (1 - expected.mean())


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("model", MODELS)
def test_every_prediction_is_plain_scikit_learns(model, seed):
    given = confidences(model, 600, 400, seed)
    assert_same_attack(given)
    assert len(np.unique(given.forget)) > 1


@pytest.mark.parametrize("known", [1, 2, 3, 7, 30])
def test_every_prediction_is_plain_scikit_learns_however_few_are_known(known):
    for model in MODELS:
        for seed in range(4):
            assert_same_attack(confidences(model, known, 20, seed))


def test_confidences_in_double_precision_give_the_same_predictions_too():
    random = np.random.default_rng(5)
    assert_same_attack(Confidences(random.random(300) ** 0.5, random.random(300), random.random(200)))


@pytest.mark.parametrize(("model", "seed"), [("memorised", 0), ("coarse", 1), ("underfitted", 3)])
def test_samples_left_out_for_a_while_are_caught_up_with(model, seed):
    """libsvm shrinks after 1,000 steps; the last two take all samples back twice, the last one in two parts."""
    assert_same_attack(confidences(model, 1500, 200, seed))


@pytest.mark.parametrize("seed", range(5))
def test_both_answers_occur(seed):
    """The comparisons above would say little about attackers that always answer the same."""
    assert 5 < svc_mia(*confidences("underfitted", 300, 300, seed)) < 95
    assert 5 < svc_mia(*confidences("a hundred classes", 300, 300, seed)) < 95


def test_a_constant_model_is_judged_as_by_libsvm():
    assert_same_attack(Confidences(*(np.full(n, 0.4, np.float32) for n in (30, 30, 7))))


@pytest.mark.parametrize("margin", [0.0, np.inf])
def test_interpolated_and_summed_decisions_agree(margin, monkeypatch):
    """None of the samples' decisions is summed up as libsvm does, or each of them."""
    monkeypatch.setattr(mia, "_MARGIN", margin)
    for model in ("retrained", "underfitted", "coarse"):
        assert_same_attack(confidences(model, 200, 400, seed=3))


def test_samples_next_to_the_border_are_judged_as_by_libsvm():
    """Bisection down to neighbouring floats finds where the answer changes; there rounding decides."""
    given = confidences("retrained", 300, 0)
    attacker, plain = train_svc(given.test, given.retain), plain_attacker(given)
    low, high = 0.0, 1.0
    assert (plain_predictions(plain, np.array([low, high])) == [0, 1]).all()
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if plain_predictions(plain, np.array([middle]))[0] else (middle, high)
    border = np.nextafter(high, 0) + np.arange(-200, 200) * np.spacing(high)
    assert np.array_equal(members(attacker, border), plain_predictions(plain, border) == 1)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "known", "forget"),
    [
        ("memorised", 10_000, 4_500),
        ("a hundred classes", 10_000, 4_500),
        ("underfitted", 10_000, 22_500),
        ("coarse", 9_000, 4_500),
        ("saturated", 10_000, 4_500),
        ("exact zeros", 26_032, 6_000),
    ],
)
def test_every_prediction_is_plain_scikit_learns_at_full_size(model, known, forget):
    assert_same_attack(confidences(model, known, forget))
