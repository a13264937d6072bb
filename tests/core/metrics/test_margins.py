"""Margins against their definition, and where probabilities have no more digits."""

import numpy as np
import pytest
import torch

from core.errors import BadInput
from core.metrics.margins import margins


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
