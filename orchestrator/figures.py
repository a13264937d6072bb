"""A figure over seeds: its mean and its 95 % interval."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Figure:
    """A mean over seeds, half its 95 % interval (None for one seed) and its gap to Retrain's mean."""

    mean: float
    half: float | None = None
    gap: float | None = None


def figure(values: Sequence[float], gap: float | None = None) -> Figure:
    """The mean of at least one value, and half of its 95 % interval by Student's t."""
    if len(values) < 2:
        return Figure(values[0], None, gap)
    from scipy.stats import t  # a second of import that one seed does not need

    quantile = float(t.ppf((1 + CONFIDENCE) / 2, len(values) - 1))
    return Figure(fmean(values), quantile * stdev(values) / math.sqrt(len(values)), gap)
