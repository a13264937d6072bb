"""A figure over seeds: its mean and its 95 % interval."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from statistics import fmean, stdev

CONFIDENCE = 0.95
SIGNIFICANT = 3  # digits of a figure that has no fixed number of decimals


@dataclass(frozen=True)
class Figure:
    """A mean over count seeds, half its 95 % interval (None where nothing tells it) and its gap to Retrain's mean.

    gap_half: half the interval of the gap. low, high: of one seed, the 95 % interval that its images allow, where
    the metric has one of its own.
    """

    mean: float
    half: float | None = None
    gap: float | None = None
    count: int = 1
    gap_half: float | None = None
    low: float | None = None
    high: float | None = None


def figure(values: Sequence[float], gap: float | None = None, images: float | None = None) -> Figure:
    """The mean of at least one value with half its interval.

    images: what the number of images leaves open of that mean (`image_noise`), the whole interval of one seed; of
    several it joins what the seeds leave open.
    """
    return Figure(fmean(values), joined(seed_half(values), images), gap, len(values))


def seed_half(values: Sequence[float]) -> float | None:
    """Half the interval of a mean over seeds by Student's t; None for fewer than two."""
    if len(values) < 2:
        return None
    return _quantile(len(values) - 1) * stdev(values) / math.sqrt(len(values))


def joined(*halves: float | None) -> float | None:
    """Halves of independent sources as one, square and add; None if no source is known."""
    known = [half for half in halves if half is not None]
    return math.hypot(*known) if known else None


def decimals(mean: float, places: int | None) -> int:
    """How many decimals a mean and its interval have: a fixed number, or what three significant digits take."""
    if places is not None:
        return places
    size = math.floor(math.log10(abs(mean))) if mean else 0
    return min(max(SIGNIFICANT - 1 - size, 0), 4)


@cache
def _quantile(degrees: int) -> float:
    """Student's t; kept, as a large report asks a thousand times for the same few."""
    from scipy.special import stdtrit  # not scipy.stats, which takes a second to import

    return float(stdtrit(degrees, (1 + CONFIDENCE) / 2))
