"""Q-MUL without Similar Labels (the paper, table 2): random labels, both sets weighed by their gradients."""

from core.unlearn import qmul
from core.unlearn.base import Method
from core.unlearn.passes import reweighted


class QMULNoSLParams(qmul.QMULParams):
    """Q-MUL's; labels are random, drawn once unless `label_refresh` is epoch (the paper does not say)."""

    labels: qmul.Labels = "random"


METHOD = Method(
    "qmul_no_sl",
    "Q-MUL w/o SL",
    QMULNoSLParams,
    qmul.METHOD.space,
    qmul.qmul,
    released={**qmul.METHOD.released, "true_label_possible": True},
    passes=reweighted,
)
