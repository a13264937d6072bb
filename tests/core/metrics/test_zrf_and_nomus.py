"""ZRF and NoMUS by hand."""

import numpy as np
import pytest
import torch

from core.errors import BadInput
from core.metrics.distances import js_divergence
from core.metrics.nomus import nomus
from core.metrics.zrf import zrf


def test_zrf_is_one_for_the_same_outputs_and_zero_for_disjoint_ones():
    one, other = np.array([[1.0, 0, 0]]), np.array([[0, 0.5, 0.5]])
    assert zrf(one, one) == 1
    assert zrf(one, other) == pytest.approx(0)


def test_zrf_is_the_mean_divergence_in_bits():
    p, q = (torch.rand(40, 6, generator=torch.Generator().manual_seed(k)).double().softmax(1) for k in (1, 2))
    assert zrf(p, q) == pytest.approx(1 - js_divergence(p, q) / np.log(2))


@pytest.mark.parametrize(
    ("p", "q", "line"),
    [
        ([[0.5, 0.5]], [[1.0, 0, 0]], r"\(1, 2\) and \(1, 3\)"),
        (np.empty((0, 3)), np.empty((0, 3)), r"\(0, 3\)"),
        ([[2.0, -1]], [[0.5, 0.5]], "outside 0 to 1"),
    ],
)
def test_zrf_of_what_is_no_output_is_refused(p, q, line):
    with pytest.raises(BadInput, match=line):
        zrf(p, q)


def test_nomus_is_best_where_the_attack_is_a_coin():
    assert nomus(1.0, 0.5) == 1
    assert nomus(0.8, 0.6) == pytest.approx(0.4 + 0.4)
    assert nomus(0.8, 0.4) == nomus(0.8, 0.6)
    with pytest.raises(BadInput, match=r"test_accuracy=80: .* 0 to 1"):
        nomus(80, 0.5)
