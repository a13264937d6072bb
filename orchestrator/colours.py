"""The colour and mark of each method, the same in every chart, on paper and in MLflow."""

from core.unlearn import METHODS
from orchestrator.variants import base_name
from orchestrator.words import ORIGINAL

# Okabe and Ito's set, which stays apart for colour-blind readers, its light colours darkened to be seen on white.
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#c06a9c", "#b58900", "#3d9fd6", "#7f56c4")
_SHAPES = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down")
_NEUTRAL = {ORIGINAL: "#8a9099", "retrain": "#6b727b"}
_COLOURED = [name for name in METHODS if name not in _NEUTRAL]


def colour_of(label: str) -> str:
    """A method's or variant's colour as #rrggbb; a variant has its method's."""
    method = base_name(label)
    if method in _NEUTRAL:
        return _NEUTRAL[method]
    return _COLOURS[_COLOURED.index(method) % len(_COLOURS)]


def shape_of(label: str) -> str:
    """A method's mark, by Vega's names, so that nothing hangs on colour alone."""
    method = base_name(label)
    if method in _NEUTRAL:
        return "stroke"
    return _SHAPES[_COLOURED.index(method) % len(_SHAPES)]
