"""What stands beside MIA: the same confidences without an SVC, and how much MIA is worth."""

import numpy as np
import pytest

from core.metrics import attack
from core.metrics.metric import SetPredictions
from core.metrics.mia import svc_mia
from core.metrics.predictions import Predictions


def predicted(confidence) -> Predictions:
    confidence = np.asarray(confidence, np.float32)
    nothing = np.zeros(len(confidence), np.int16)
    return Predictions(nothing, nothing, confidence)


def seen(forget, retain, test, validation=()) -> SetPredictions:
    return SetPredictions(*map(predicted, (forget, retain, test, validation)))


def sigmoid(mean: float, spread: float, count: int, seed: int) -> np.ndarray:
    """Confidences of a model that is nearly sure of everything."""
    return 1 / (1 + np.exp(-np.random.default_rng(seed).normal(mean, spread, count)))


def test_auc_and_tpr_are_of_forgotten_against_test_images():
    found = seen(forget=[0.9, 0.9, 0.4, 0.1], retain=[1.0], test=np.linspace(0.2, 0.8, 200))
    above = np.mean([1, 1, np.mean(np.linspace(0.2, 0.8, 200) < 0.4), 0])
    assert attack.auc(found).value == pytest.approx(100 * above)
    assert attack.tpr(found).value == 50  # two of four lie above every test image
    for estimate in (attack.auc(found), attack.tpr(found)):
        assert 0 <= estimate.low <= estimate.value <= estimate.high <= 100


def test_the_interval_is_the_same_whenever_it_is_computed():
    found = seen(sigmoid(2, 1, 50, 0), [1.0], sigmoid(1, 1, 80, 1))
    assert attack.auc(found) == attack.auc(found)


def test_separation_is_of_what_the_attack_learns_from():
    retain = np.concatenate(
        [np.full(40, 0.9), np.zeros(400)]
    )  # only as many as there are test images are read
    assert attack.separation(seen([0.5], retain, np.full(40, 0.2))) == 100
    assert attack.separation(seen([0.5], np.full(30, 0.7), np.full(30, 0.7))) == 50


def test_an_attack_on_clear_confidences_does_not_swing():
    clear = seen(sigmoid(4, 4, 140, 2), sigmoid(10, 1.5, 1300, 0), sigmoid(4, 4, 360, 1))
    assert attack.separation(clear) > 85
    assert attack.swing(clear) < 10


def test_an_attack_that_has_nothing_to_learn_from_is_bistable_and_says_so():
    """Members and non-members of one distribution: MIA is 0 or 100, depending on which images it learned from."""
    twins = [seen(*(sigmoid(8, 2, n, 10 * k + i) for i, n in enumerate((140, 1300, 360)))) for k in range(4)]
    found = [attack.mia(one) for one in twins]
    assert min(found) < 5
    assert max(found) > 95
    assert all(45 < attack.separation(one) < 55 for one in twins)
    assert max(attack.swing(one) for one in twins) > 90
    assert all(41 < attack.auc(one).value < 59 for one in twins)  # three standard errors about no trace


def test_mia_is_the_papers_figure():
    forget, retain, test = (sigmoid(2 + k, 2, 60, k) for k in range(3))
    found = seen(forget, retain, test, validation=test[:20])
    sides = [part.astype(np.float32) for part in (retain, test, forget)]
    assert attack.mia(found) == svc_mia(*sides)
    assert attack.mia_on_validation(found) == svc_mia(sides[0], sides[1][:20], sides[2])
    assert attack.mia_on_validation(seen(forget, retain, test)) is None
