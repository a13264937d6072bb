"""Q-MUL without Adaptive Gradient Reweighting (the paper, table 2): similar labels, fixed weights."""

from __future__ import annotations

from core.unlearn import qmul
from core.unlearn.base import Method
from core.unlearn.passes import both_sets, relabelled


class QMULNoAGRParams(qmul.QMULParams):
    """Q-MUL's; both sets weigh 1. The paper does not say whether 1 or 1/2, which halves every step."""

    weights: qmul.Weights = "one"


METHOD = Method(
    "qmul_no_agr",
    "Q-MUL w/o AGR",
    QMULNoAGRParams,
    qmul.METHOD.space,
    qmul.qmul,
    released=qmul.METHOD.released,
    passes=relabelled(both_sets),
)
