"""Margins against their definition, and where probabilities have no more digits."""

import numpy as np
import pytest
import torch

from core.errors import BadInput
from core.metrics import attack
from core.metrics.margins import margins
from core.metrics.metric import SetMargins
from core.metrics.predictions import pack_margins, predict, predict_with_margins, unpack_margins
from tests.core.toy_problem import PLAIN, toy_images, toy_model


def test_a_margin_is_the_log_odds_of_the_true_label():
    logits = np.random.default_rng(0).normal(0, 3, (50, 7))
    labels = np.arange(50) % 7
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    true = p[np.arange(50), labels]
    assert margins(logits, labels) == pytest.approx(np.log(true) - np.log(1 - true), abs=1e-9)


def test_two_classes_have_the_difference_of_their_logits():
    assert margins([[3.0, 1.0], [3.0, 1.0]], [0, 1]).tolist() == [2.0, -2.0]


def test_a_margin_goes_on_where_a_float32_probability_is_one():
    logits = torch.tensor([[40.0, 0.0, 0.0], [900.0, -900.0, -901.0]])
    assert (logits.softmax(1)[:, 0] == 1).all()
    expected = [40 - np.log(2), 1800 - np.log1p(np.exp(-1))]
    assert margins(logits, torch.tensor([0, 0])) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(
    ("logits", "labels", "line"),
    [
        ([[1.0]], [0], r"at least 2 classes.*\(1, 1\)"),
        ([[1.0, 2.0]], [2], "labels of 1 images are 0 to 1"),
        ([[1.0, 2.0]], [0, 1], "one for each"),
    ],
)
def test_what_has_no_margin_is_refused(logits, labels, line):
    with pytest.raises(BadInput, match=line):
        margins(logits, labels)


def test_margins_come_from_the_logits_that_the_predictions_come_from():
    model, images = toy_model(), toy_images(30)
    seen, found = predict_with_margins(model, images, PLAIN, batch_size=7)
    assert found.dtype == np.float32
    odds = np.log(seen.confidence.astype(float)) - np.log1p(-seen.confidence.astype(float))
    assert found == pytest.approx(odds, abs=1e-4)
    alone = predict(model, images, PLAIN, batch_size=7)
    assert (alone.confidence == seen.confidence).all()


def test_margins_are_read_as_they_were_packed():
    parts = {"train": np.arange(3, dtype=np.float32), "test": np.zeros(2, np.float32)}
    found = unpack_margins(pack_margins(parts))
    assert {name: values.tolist() for name, values in found.items()} == {"train": [0, 1, 2], "test": [0, 0]}
    with pytest.raises(BadInput, match="not a margins file"):
        unpack_margins(b"PK")


def test_the_area_under_margins_sees_what_rounded_probabilities_hide():
    forget, test = np.array([30.0, 40]), np.array([20.0, 25, 35])
    seen = SetMargins(forget, forget, test, np.empty(0))
    assert attack.margin_auc(seen).value == pytest.approx(100 * 5 / 6)
