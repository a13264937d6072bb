"""The methods. Adding one is a file with its function and `METHOD`, and a line here."""

from core.unlearn import (
    finetune,
    gradient_ascent,
    influence,
    l1_sparse,
    qmul,
    random_labels,
    retrain,
    salun,
)
from core.unlearn.base import Method, Problem, Range

__all__ = ["METHODS", "Method", "Problem", "Range"]

METHODS: dict[str, Method] = {
    "retrain": retrain.METHOD,
    "ft": finetune.METHOD,
    "ga": gradient_ascent.METHOD,
    "iu": influence.METHOD,
    "rl": random_labels.METHOD,
    "l1_sparse": l1_sparse.METHOD,
    "salun": salun.METHOD,
    "qmul": qmul.METHOD,
}
