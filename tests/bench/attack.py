"""What the membership attack costs an evaluation."""

from functools import partial

import numpy as np
from sklearn.svm import SVC

from core.metrics.mia import svc_mia
from tests.bench.confidences import confidences
from tests.bench.measure import Comparison, Effort, Target, side_by_side
from tests.bench.surroundings import as_in_a_node

OURS, REFERENCE = "core.metrics.mia", "plain scikit-learn"
LIMIT = 2.0  # seconds
CASES = (("memorised", 4500), ("underfitted", 22500))  # a model and how many samples it is to forget


def attack(effort: Effort) -> list[Comparison]:
    """The SVC of the MIA column on 10,000 retained and 10,000 test samples, at CIFAR-10's sizes.

    The reference trains and asks `sklearn.svm.SVC` on dense columns; every prediction is the same. A model
    that has memorised its training set leaves many confidences at exactly 1, one that is underfitted leaves
    hardly two alike.
    """
    known, repeats = 50 if effort.tiny else 10_000, min(effort.repeats, 5)
    with as_in_a_node():
        return [_compared(model, known, known * forget // 10_000, repeats) for model, forget in CASES]


def _compared(model: str, known: int, forget: int, repeats: int) -> Comparison:
    given = confidences(model, known, forget)
    assert svc_mia(*given) == plain_mia(*given)
    variants = {REFERENCE: partial(plain_mia, *given), OURS: partial(svc_mia, *given)}
    return Comparison(
        "attack",
        f"{model} model, {known:,} + {known:,} samples, {forget:,} to forget, 1 CPU thread",
        "model",
        side_by_side(variants, repeats, warm_ups=0),  # the assertion has run both
        baseline=REFERENCE,
        target=Target(OURS, "seconds", LIMIT),
    )


def plain_mia(retain: np.ndarray, test: np.ndarray, forget: np.ndarray) -> float:
    """Percent of forget samples judged non-members, by the published lines; as many retain as test samples."""
    known = np.concatenate([retain, test]).astype(np.float64)[:, None]
    attacker = SVC(C=3, kernel="rbf", gamma="auto").fit(known, np.repeat([1, 0], len(test)))
    return 100.0 * (1.0 - float(attacker.predict(forget.astype(np.float64)[:, None]).mean()))
