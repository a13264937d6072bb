"""Probabilities of the true label as models of several kinds give them: what the membership attack works on."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from numpy.random import Generator


class Confidences(NamedTuple):
    """float32, one per sample."""

    retain: np.ndarray
    test: np.ndarray
    forget: np.ndarray


Draw = Callable[[int, Generator], np.ndarray]  # so many, from the generator


def logits(mean: float, spread: float) -> Draw:
    """Sigmoid of normal logits, in float32 as a network's softmax: exactly 1 from a logit of about 17 on."""
    return lambda n, random: 1 / (1 + np.exp(-(mean + spread * random.standard_normal(n)).astype(np.float32)))


def mixed(share: float, first: Draw, second: Draw) -> Draw:
    """Samples of two kinds in random order."""
    return lambda n, random: np.where(random.random(n) < share, first(n, random), second(n, random))


def rounded(levels: int, draw: Draw) -> Draw:
    """Only so many different values besides 0."""
    return lambda n, random: np.round(draw(n, random) * levels) / levels


_WRONG = logits(-1, 3)
_SEEN, _UNSEEN = logits(16, 3), mixed(0.93, logits(12, 4), _WRONG)
_ONES: Draw = lambda n, _: np.ones(n)  # noqa: E731
MODELS: Mapping[str, tuple[Draw, Draw, Draw]] = {  # retain, test, forget
    "memorised": (_SEEN, _UNSEEN, _SEEN),
    "retrained": (_SEEN, _UNSEEN, _UNSEEN),
    "a hundred classes": (logits(9, 2), mixed(0.7, logits(5, 3), logits(-2, 2.5)), logits(5, 3)),
    "underfitted": (logits(0.3, 1.5), logits(0.1, 1.5), logits(0.2, 1.5)),
    "coarse": (rounded(256, logits(3, 2)), rounded(256, logits(2, 2.5)), rounded(256, logits(2.5, 2))),
    "conflicting": (rounded(7, logits(0, 1)), rounded(7, logits(0, 1)), logits(0, 1)),
    "saturated": (mixed(0.998, _ONES, logits(2, 1)), mixed(0.95, _ONES, logits(0, 2)), mixed(0.9, _ONES, logits(1, 2))),
    "exact zeros": (logits(3, 2), rounded(1, logits(-1, 3)), rounded(2, logits(0, 3))),
}  # fmt: skip


def confidences(model: str, known: int, forget: int, seed: int = 0) -> Confidences:
    """Of a model of this kind, on `known` retained, `known` test and `forget` forgotten samples."""
    random = np.random.default_rng(seed)
    counts = (known, known, forget)
    parts = (
        draw(count, random).astype(np.float32) for draw, count in zip(MODELS[model], counts, strict=True)
    )
    return Confidences(*parts)
