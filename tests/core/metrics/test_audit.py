"""An audit's attacks and floors on models that are drawn: what leaves a trace is found, and what leaves none is not."""

import numpy as np
import pytest
from scipy.stats import norm

from core.errors import BadInput
from core.metrics.audit.attacks import ATTACKS, all_scores, check_models
from core.metrics.audit.evidence import Evidence, Side, halves
from core.metrics.audit.floors import audited
from core.metrics.klom import klom
from core.metrics.lira import u_lira

MODELS, IMAGES = 12, 300
RETRAIN = {"fa": 60.0, "ra": 95.0, "ta": 58.0, "mia": 45.0}


def inside(random: np.random.Generator, models: int = MODELS, images: int = IMAGES) -> np.ndarray:
    """Model 0 has all images, 1 none, and each further pair divides them."""
    first = random.random((models // 2, images)) < 0.5
    first[0] = True
    return np.stack([first, ~first], 1).reshape(models, images)


def side(random: np.random.Generator, trace: np.ndarray | float = 0.0, **figures: float) -> Side:
    hard = np.random.default_rng(99).normal(0, 2, IMAGES)  # how hard an image is does not depend on the model
    draw = lambda count: random.normal(0, 1, (MODELS, count))  # noqa: E731
    forget = hard + draw(IMAGES) + trace
    return Side(forget, draw(200) + 3, draw(400) * 2.2, [RETRAIN | figures] * MODELS)


def evidence(trace: float, seed: int = 0, **figures: float) -> Evidence:
    random = np.random.default_rng(seed)
    within = inside(random)
    return Evidence(side(random, trace * within, **figures), side(random), within)


@pytest.fixture(scope="module")
def exposed():
    return audited(evidence(2.0, fa=90.0), ATTACKS, np.random.default_rng(1)).readings


@pytest.fixture(scope="module")
def forgotten():
    return audited(evidence(0.0, seed=3), ATTACKS, np.random.default_rng(1)).readings


@pytest.mark.parametrize("name", ATTACKS)
def test_every_score_has_a_floor_within_its_interval(name, forgotten):
    for column in ATTACKS[name].scores:
        found = forgotten[column]
        assert found.low <= found.floor <= found.high
        assert np.isfinite(found.value)


def test_what_is_like_retrain_is_marked_and_what_is_not_is_not(exposed, forgotten):
    for column in ("u_lira", "lira_auc", "klom_forget", "quality", "tow"):
        assert not exposed[column].like_retrain, column
    for column in ("u_lira", "lira_auc", "lira_offline_auc", "rmia_auc", "klom_forget", "quality"):
        assert forgotten[column].like_retrain, column


def test_scores_are_those_of_the_models_that_had_an_image_against_those_that_had_not(exposed):
    found = evidence(2.0)
    pair = halves(found.subject.forget, found.retrain.forget, found.inside)
    assert exposed["u_lira"].value == pytest.approx(100 * u_lira(*pair).mean())
    assert exposed["klom_forget"].value == pytest.approx(klom(*pair).mean())
    assert exposed["u_lira"].value == pytest.approx(100 * norm.cdf(1.0), abs=4)
    assert exposed["tow"].value == pytest.approx(1 - 0.3)


def test_halves_takes_each_image_from_the_models_it_was_inside_of():
    within = inside(np.random.default_rng(5))
    numbers = np.arange(MODELS)[:, None] + np.zeros(IMAGES)
    found = halves(numbers, numbers, within)
    for image in range(0, IMAGES, 37):
        assert sorted(found.within[:, image]) == list(np.flatnonzero(within[:, image]))
        assert sorted(found.out[:, image]) == list(np.flatnonzero(~within[:, image]))


def test_floors_do_not_depend_on_the_method(exposed, forgotten):
    assert exposed["u_lira"].floor == pytest.approx(forgotten["u_lira"].floor, abs=1.5)
    assert exposed["u_lira"].floor == pytest.approx(50, abs=1.5)


def test_references_that_saw_an_image_and_single_models_are_refused():
    random = np.random.default_rng(0)
    own = side(random)
    seen = np.ones((MODELS, IMAGES), bool)
    with pytest.raises(BadInput, match="references saw the target images"):
        Evidence(own, own, seen)
    with pytest.raises(BadInput, match="models in pairs; these are 12 and 12"):
        Evidence(own, own, seen[:11])


def test_too_few_models_and_unknown_attacks_are_told_in_a_line():
    with pytest.raises(BadInput, match="u_lira needs at least 6 models, there are 4"):
        check_models(4, ATTACKS)
    with pytest.raises(BadInput, match="unknown attack 'u_lyra': did you mean 'u_lira'"):
        all_scores(["u_lyra"])


def test_an_attack_that_cannot_is_left_out_with_its_reason_and_the_others_go_on():
    random = np.random.default_rng(0)
    within = inside(random, images=3)
    few = Side(*(random.normal(0, 1, (MODELS, 3)) for _ in range(3)), [RETRAIN] * MODELS)
    found = audited(Evidence(few, few, within), ["u_lira", "nomus"], random)
    assert found.left_out == {"nomus": "NoMUS divides 3 images of a side into 10 folds"}
    assert set(found.readings) == {"u_lira", "u_lira_95"}
    with pytest.raises(BadInput, match="NoMUS divides 3 images"):
        audited(Evidence(few, few, within), ["nomus"], random)


def test_every_score_has_a_title_of_its_own_and_every_attack_a_sentence():
    columns = [column for attack in ATTACKS.values() for column in attack.scores]
    assert len(set(columns)) == len(columns) == len({score.title for score in all_scores().values()})
    assert all(any(score.about for score in attack.scores.values()) for attack in ATTACKS.values())
