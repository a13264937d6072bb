"""AG: how far a model's four figures lie from Retrain's."""

from collections.abc import Mapping

FIGURES = ("fa", "ra", "ta", "mia")


def average_gap(metrics: Mapping[str, float], reference: Mapping[str, float]) -> float:
    """Mean absolute difference over FA, RA, TA and MIA, in percentage points; 0 for the reference itself."""
    return sum(abs(metrics[name] - reference[name]) for name in FIGURES) / len(FIGURES)
