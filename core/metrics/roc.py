"""How well a score tells members from non-members: area under the ROC curve, and what it finds at few false alarms."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from core.errors import BadInput
from core.metrics.metric import Estimate

RESAMPLES = 500  # the ends of an interval are then sure to a twentieth of its width


@dataclass(frozen=True)
class Counts:
    """How many members and non-members have each value of a score, from the smallest value to the largest."""

    members: np.ndarray
    others: np.ndarray


Statistic = Callable[[Counts], float]


def auc(score_N: np.ndarray, member_N: np.ndarray) -> float:
    """Area under the ROC curve, 0 to 1: how often a member's score exceeds a non-member's, a tie counting half.

    Args:
        score_N: higher says member.
        member_N: bool.

    Raises:
        BadInput: where one of the two sides is empty, or for a score that is not finite.
    """
    return area(counted(score_N, member_N))


def tpr_at(score_N: np.ndarray, member_N: np.ndarray, fpr: float) -> float:
    """The largest share of members above a threshold that at most the share `fpr` of non-members exceeds, 0 to 1.

    Conservative: equal scores stand on the same side of every threshold, and nothing is interpolated between two of
    them. Raises BadInput as `auc` does.
    """
    return share_found(counted(score_N, member_N), fpr)


def counted(score_N: np.ndarray, member_N: np.ndarray) -> Counts:
    """The two sides of a score, as all of this file looks at them. Raises BadInput as `auc` does."""
    member_N = np.asarray(member_N, bool)
    if member_N.all() or not member_N.any():
        raise BadInput("a ROC curve needs members and non-members, and one of the two is missing")
    if not np.isfinite(score_N).all():
        raise BadInput("a ROC curve needs finite scores, and some are not")
    values, where = np.unique(score_N, return_inverse=True)
    sides = (np.bincount(where[side], minlength=len(values)) for side in (member_N, ~member_N))
    return Counts(*sides)


def area(counts: Counts) -> float:
    """`auc` of counts."""
    below = np.cumsum(counts.others) - counts.others / 2
    return float(counts.members @ below) / (int(counts.members.sum()) * int(counts.others.sum()))


def share_found(counts: Counts, fpr: float) -> float:
    """`tpr_at` of counts."""
    alarms = np.cumsum(counts.others[::-1])  # by threshold, from the highest value down
    steps = np.searchsorted(alarms, fpr * alarms[-1] * (1 + 1e-12), side="right")
    return float(counts.members[::-1][:steps].sum() / counts.members.sum())


def bootstrap(
    counts: Counts, statistic: Statistic, generator: Generator, resamples: int = RESAMPLES
) -> Estimate:
    """A statistic and its 95 % interval: percentiles over resamples of both sides, each as large as it is."""
    sides = [np.repeat(np.arange(len(side)), side) for side in (counts.members, counts.others)]
    found = [
        statistic(Counts(*(_drawn(side, len(counts.members), generator) for side in sides)))
        for _ in range(resamples)
    ]
    low, high = np.percentile(found, (2.5, 97.5))
    return Estimate(statistic(counts), float(low), float(high))


def _drawn(side_N: np.ndarray, values: int, generator: Generator) -> np.ndarray:
    """The counts of as many samples as there are, drawn with replacement. side_N: the position of each one's value."""
    return np.bincount(side_N[generator.integers(len(side_N), size=len(side_N))], minlength=values)
