"""What the number of images leaves open: binomial intervals of one model's figures, of gaps and of AG.

Every figure is a share of counted images, so that already one seed has an interval. Two models count as if their
images were drawn apart, which is cautious: both saw the same ones, and what they agree on would cancel. FA and the
attack look at the same forgotten images, so their parts of an AG are added; of the others the squares are.
"""

import math
from collections.abc import Iterable, Mapping
from statistics import NormalDist
from typing import Any, NamedTuple

from core.metrics import FIGURES
from orchestrator.report.intervals import CONFIDENCE

Row = Mapping[str, Any]
COUNTS = {"fa": "forget_count", "ra": "retain_count", "ta": "test_count", "mia": "forget_count"}
_Z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)


class Interval(NamedTuple):
    """Both ends, in percent."""

    low: float
    high: float


def wilson(percent: float, count: int) -> Interval:
    """The 95 % interval of a share of count images, both in percent (Wilson 1927).

    A share outside 0 to 100 %, which no count of images gives, is taken for the nearer end.
    """
    share, spread = min(1.0, max(0.0, percent / 100)), _Z * _Z / count
    centre = (share + spread / 2) / (1 + spread)
    half = _Z / (1 + spread) * math.sqrt(share * (1 - share) / count + spread / (4 * count))
    return Interval(100 * max(0.0, centre - half), 100 * min(1.0, centre + half))


def figure_interval(row: Row, name: str) -> Interval | None:
    """The interval of one figure of a row; None where the row does not say of how many images."""
    count = row.get(COUNTS[name])
    return wilson(row[name], count) if count else None


def figure_half(row: Row, name: str) -> float | None:
    """The longer arm of a figure's interval, so that ± covers it."""
    found = figure_interval(row, name)
    return max(row[name] - found.low, found.high - row[name]) if found else None


def gap_half(row: Row, reference: Row, name: str) -> float | None:
    """± of a figure's distance to Retrain's: both arms squared and added (Newcombe 1998)."""
    one, other = figure_half(row, name), figure_half(reference, name)
    return None if one is None or other is None else math.hypot(one, other)


def ag_half(row: Row, reference: Row) -> float | None:
    """± of an AG by the images alone."""
    one, retrain = _arms(row), _arms(reference)
    if one is None or retrain is None:
        return None
    return _mean_half({name: math.hypot(one[name], retrain[name]) for name in FIGURES})


def difference_half(row: Row, other: Row, reference: Row) -> float | None:
    """± of the difference of two AGs to one Retrain, whose part cancels where both lie on the same side of it."""
    arms = _arms(row), _arms(other), _arms(reference)
    one, two, retrain = arms
    if one is None or two is None or retrain is None:
        return None
    apart = {name: abs(_side(row, reference, name) - _side(other, reference, name)) for name in FIGURES}
    return _mean_half(
        {name: math.hypot(one[name], two[name], apart[name] * retrain[name]) for name in FIGURES}
    )


def over_seeds(halves: Iterable[float | None]) -> float | None:
    """± of a mean over seeds, each with images of its own; None where one is unknown, and for none."""
    found = list(halves)
    known = [half for half in found if half is not None]
    return math.hypot(*known) / len(found) if known and len(known) == len(found) else None


def _arms(row: Row) -> dict[str, float] | None:
    found = {name: half for name in FIGURES if (half := figure_half(row, name)) is not None}
    return found if len(found) == len(FIGURES) else None


def _mean_half(halves: Mapping[str, float]) -> float:
    return math.hypot(halves["fa"] + halves["mia"], halves["ra"], halves["ta"]) / len(FIGURES)


def _side(row: Row, reference: Row, name: str) -> int:
    """Below Retrain -1, above 1, level 0."""
    return int(row[name] > reference[name]) - int(row[name] < reference[name])
