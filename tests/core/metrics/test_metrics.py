"""Accuracy, AG, distances and stored predictions (ALGORITHMS 1, 5, 9.4, 9.5)."""

import io
import math
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

from core.data.loader import Images
from core.errors import BadInput
from core.metrics.distances import (
    activation_distance,
    js_divergence,
    kl_divergence,
    tug_of_war,
    tug_of_war_mia,
)
from core.metrics.gap import average_gap, mismatched_accuracy
from core.metrics.predictions import Predictions, pack, predict, unpack
from tests.core.toy_problem import CLASSES, PLAIN, differing, state_of, toy_images, toy_model

# --- gaps and distances

FIGURES = {"fa": 75.71, "ra": 97.89, "ta": 67.27, "mia": 52.11}
RETRAIN = {"fa": 74.76, "ra": 99.98, "ta": 72.43, "mia": 56.36}


def test_average_gap_of_the_papers_row():
    assert average_gap(FIGURES, RETRAIN) == pytest.approx((0.95 + 2.09 + 5.16 + 4.25) / 4)
    assert round(average_gap(FIGURES, RETRAIN), 2) == 3.11


def test_average_gap_of_the_reference_is_zero_and_it_is_symmetric():
    assert average_gap(RETRAIN, RETRAIN) == 0
    assert average_gap(FIGURES, RETRAIN) == average_gap(RETRAIN, FIGURES)


@pytest.mark.parametrize(
    ("train", "test", "predicted", "published"),
    [
        (100, 93.35, 99.34, (99.38, 99.38)),  # CIFAR-10, 10 %
        (99.98, 73.37, 97.32, (96.82, 97.33)),  # CIFAR-100, 50 %
        (100, 94.84, 99.48, (99.21, 99.43)),  # SVHN, 10 %
    ],
)
def test_mismatched_splits_predict_the_published_rows_of_gradient_ascent(train, test, predicted, published):
    """There it hardly moves the model: its printed TA gives its printed FA and RA (ALGORITHMS section 1)."""
    found = mismatched_accuracy(train, test)
    assert found == pytest.approx(predicted, abs=0.006)
    assert found == pytest.approx(np.mean(published), abs=0.3)


def test_mismatched_accuracy_goes_from_train_to_test():
    assert mismatched_accuracy(90, 50, share=0) == 90
    assert mismatched_accuracy(90, 50, share=0.25) == 80
    assert mismatched_accuracy(90, 50, share=1) == 50


def test_tug_of_war():
    same = {"fa": 50.0, "ra": 50.0, "ta": 50.0}
    assert tug_of_war(same, same) == 1
    assert tug_of_war(same | {"fa": 60.0}, same) == pytest.approx(0.9)
    assert tug_of_war(same | {"fa": 60.0, "ra": 30.0}, same) == pytest.approx(0.9 * 0.8)


def test_tug_of_war_with_the_attack_in_the_place_of_fa():
    assert tug_of_war_mia(FIGURES, RETRAIN) == pytest.approx((1 - 0.0425) * (1 - 0.0209) * (1 - 0.0516))
    assert tug_of_war_mia(FIGURES | {"fa": 0.0}, RETRAIN) == tug_of_war_mia(FIGURES, RETRAIN)


ONE_HOT = torch.tensor([[1.0, 0.0, 0.0]])
OTHER = torch.tensor([[0.0, 1.0, 0.0]])
UNEVEN = torch.tensor([[0.7, 0.2, 0.1]])


def test_distances_of_disjoint_one_hots():
    assert activation_distance(ONE_HOT, OTHER) == pytest.approx(math.sqrt(2))
    assert js_divergence(ONE_HOT, OTHER) == pytest.approx(math.log(2), abs=1e-6)
    assert math.isfinite(kl_divergence(ONE_HOT, OTHER))


@pytest.mark.parametrize("distance", [activation_distance, js_divergence, kl_divergence])
def test_distance_to_itself_is_zero(distance):
    assert distance(UNEVEN, UNEVEN) == 0


def test_kl_is_the_formula_and_asymmetric():
    p, q = UNEVEN, torch.tensor([[0.1, 0.1, 0.8]])
    by_hand = sum(a * math.log(a / b) for a, b in zip([0.7, 0.2, 0.1], [0.1, 0.1, 0.8], strict=True))
    assert kl_divergence(p, q) == pytest.approx(by_hand, rel=1e-5)
    assert abs(kl_divergence(p, q) - kl_divergence(q, p)) > 0.1


def test_distances_are_means_over_samples():
    p, q = torch.cat([ONE_HOT, UNEVEN]), torch.cat([OTHER, UNEVEN])
    for distance in (activation_distance, js_divergence, kl_divergence):
        assert distance(p, q) == pytest.approx(distance(ONE_HOT, OTHER) / 2)


probabilities = st.lists(st.floats(0.001, 1), min_size=4, max_size=4).map(
    lambda v: torch.tensor([v], dtype=torch.float64) / sum(v)
)


@settings(max_examples=50, deadline=None)
@given(probabilities, probabilities)
def test_divergences_stay_in_their_ranges(p, q):
    assert kl_divergence(p, q) >= -1e-9
    assert -1e-9 <= js_divergence(p, q) <= math.log(2) + 1e-9
    assert js_divergence(p, q) == pytest.approx(js_divergence(q, p), abs=1e-9)
    assert 0 <= activation_distance(p, q) <= math.sqrt(2) + 1e-9


# --- predictions


def toy_predictions(count=9, seed=0):
    rng = np.random.RandomState(seed)
    return Predictions(
        rng.randint(0, 200, count).astype(np.int16),
        rng.randint(0, 200, count).astype(np.int16),
        rng.rand(count).astype(np.float32),
    )


def assert_same(a, b):
    for name in ("labels", "predicted", "confidence"):
        assert np.array_equal(getattr(a, name), getattr(b, name))
        assert getattr(a, name).dtype == getattr(b, name).dtype


def test_predict_is_softmax_and_argmax_in_eval_mode():
    model, images = toy_model(), toy_images(20, seed=5)
    found = predict(model, images, PLAIN, batch_size=7)
    with torch.no_grad():
        p = torch.cat([model.eval()(PLAIN.normalise(images.pixels[i : i + 7])) for i in (0, 7, 14)]).softmax(
            1
        )
    assert found.labels.tolist() == images.labels.tolist()
    assert found.predicted.tolist() == p.argmax(1).tolist()
    assert found.confidence.tolist() == p[range(20), images.labels].tolist()
    assert (found.labels.dtype, found.confidence.dtype) == (np.int16, np.float32)


@pytest.mark.parametrize("training", [True, False])
def test_predicting_changes_neither_state_nor_mode(training):
    model = toy_model().train(training)
    before = state_of(model)
    predict(model, toy_images(12), PLAIN)
    assert model.training is training
    assert differing(before, model) == []


def test_accuracy_does_not_depend_on_the_order():
    model, images = toy_model(), toy_images(40)
    order = torch.randperm(40, generator=torch.Generator().manual_seed(0))
    assert predict(model, images, PLAIN).accuracy == predict(model, images.select(order), PLAIN).accuracy


def test_accuracy_is_in_percent():
    found = Predictions(np.array([0, 1, 2, 3]), np.array([0, 1, 2, 0]), np.zeros(4))
    assert found.accuracy == 75
    assert found.select(np.array([3])).accuracy == 0
    assert len(found.select(np.array([True, False, True, False]))) == 2


def test_predictions_survive_packing():
    parts = {"train": toy_predictions(), "test": toy_predictions(5, seed=1)}
    found = unpack(pack(parts))
    assert found.keys() == parts.keys()
    for name, part in parts.items():
        assert_same(found[name], part)


def test_empty_predictions_survive_packing():
    assert len(unpack(pack({"test": toy_predictions(0)}))["test"]) == 0


def test_truncated_predictions_are_bad_input():
    data = pack({"test": toy_predictions(50)})
    for length in range(0, len(data), 11):
        with pytest.raises(BadInput):
            unpack(data[:length])


def test_flipped_bytes_are_bad_input_or_harmless():
    """Every byte in turn; those that nothing reads (dates, attributes) may pass, with the same arrays."""
    original = toy_predictions(50)
    data = pack({"test": original})
    for position in range(len(data)):
        damaged = bytearray(data)
        damaged[position] ^= 0x41
        try:
            found = unpack(bytes(damaged))
        except BadInput:
            continue
        assert_same(found["test"], original)


def test_other_files_are_bad_input():
    lone_array, archive = io.BytesIO(), io.BytesIO()
    np.save(lone_array, np.arange(3))
    np.savez(archive, test_labels=np.arange(3))  # two arrays missing
    for data in (b"", b"nothing of the kind", lone_array.getvalue(), archive.getvalue()):
        with pytest.raises(BadInput):
            unpack(data)


class Trap:
    def __reduce__(self):
        return (pytest.fail, ("it was unpickled",))


def test_pickled_predictions_are_never_opened():
    archive = io.BytesIO()
    trap = np.array([Trap()], dtype=object)
    np.savez(archive, test_labels=trap, test_predicted=trap, test_confidence=trap)
    for data in (archive.getvalue(), pickle.dumps(Trap())):
        with pytest.raises(BadInput):
            unpack(data)


def test_confidence_is_the_true_labels_not_the_predicted_ones():
    model, images = toy_model(), toy_images(16)
    lied = Images(images.pixels, (images.labels + 1) % CLASSES)
    truth, lie = predict(model, images, PLAIN), predict(model, lied, PLAIN)
    assert truth.predicted.tolist() == lie.predicted.tolist()
    assert truth.confidence.tolist() != lie.confidence.tolist()
