"""RMIA and the population attack against their definitions, pair by pair."""

import numpy as np
import pytest

from core.errors import BadInput
from core.metrics.population import population
from core.metrics.rmia import rmia


def drawn(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0.01, 1, shape)


@pytest.mark.parametrize(("a", "gamma"), [(0.3, 1.0), (0.7, 1.3)])
def test_rmia_counts_the_population_that_an_image_dominates(a, gamma):
    target, references, z, z_references = (
        drawn(30),
        drawn(4, 30, seed=1),
        drawn(50, seed=2),
        drawn(4, 50, seed=3),
    )
    x_ratio = target / (0.5 * ((1 + a) * references.mean(0) + (1 - a)))
    z_ratio = z / (0.5 * ((1 + a) * z_references.mean(0) + (1 - a)))
    expected = (x_ratio[:, None] / z_ratio[None] > gamma).mean(1)
    assert rmia(target, references, z, z_references, a, gamma) == pytest.approx(expected)


def test_rmia_of_equal_ratios_dominates_nobody():
    half = np.full((2, 3), 0.5)
    assert rmia(half[0], half, half[0], half).tolist() == [0, 0, 0]


def test_order_of_references_and_population_changes_nothing():
    parts = drawn(30), drawn(4, 30, seed=1), drawn(50, seed=2), drawn(4, 50, seed=3)
    shuffled = np.random.default_rng(4).permutation(50)
    other = parts[0], parts[1][::-1], parts[2][shuffled], parts[3][:, shuffled]
    assert rmia(*other) == pytest.approx(rmia(*parts))


@pytest.mark.parametrize(
    ("parts", "line"),
    [
        ((drawn(3), drawn(0, 3), drawn(5), drawn(0, 5)), "references: 0 models"),
        ((drawn(3), drawn(2, 3), drawn(0), drawn(2, 0)), "needs a population"),
        ((drawn(3) + 1, drawn(2, 3), drawn(5), drawn(2, 5)), "needs probabilities"),
        ((drawn(3), drawn(2, 4), drawn(5), drawn(2, 5)), "target is about 3 images, references about 4"),
    ],
)
def test_what_rmia_cannot_use_is_told_in_a_line(parts, line):
    with pytest.raises(BadInput, match=line):
        rmia(*parts)


def test_the_population_attack_ranks_an_image_among_unseen_ones():
    assert population([0.0, 2.5, 9.0], [1.0, 2, 2.5, 3]).tolist() == [0, 0.5, 1]
    with pytest.raises(BadInput, match="no model has seen"):
        population([0.0], [])
