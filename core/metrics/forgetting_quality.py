"""Forgetting quality of the NeurIPS 2023 challenge (Triantafillou et al. 2024): an empirical ε for every image.

An attacker calls a model unlearned or retrained by the margin that it gives to one image: by a threshold, or by
whether it lies in an interval. Of all its rules the one counts that (ε, δ) must allow most for.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from core.errors import BadInput
from core.metrics.many_models import sides

CAP = 50.0  # ε of an image that tells every model apart
NARROW = 0.01  # one side's range within the other's below which ε is the cap, as published
BIN = 0.5  # width of a bin of ε
_CHUNK = 256  # images at a time: their counts stay in the cache


def epsilon(unlearned_M: Any, retrained_M: Any, delta: float = 1e-5) -> float:
    """`epsilons` of one image."""
    return float(epsilons(np.asarray(unlearned_M)[:, None], np.asarray(retrained_M)[:, None], delta)[0])


def epsilons(unlearned_MN: Any, retrained_MN: Any, delta: float = 1e-5) -> np.ndarray:
    """The largest max{ln(1-δ-FPR) - ln FNR, ln(1-δ-FNR) - ln FPR} of all rules, for each image; 0 to 50.

    A threshold calls the side of the larger median positive above it, an interval the side of the smaller range
    within it. A rule without any error makes ε 50; one with a single kind of error is left out, as more models would
    show the other; and where one side's range is below a hundredth of the other's, ε is 50. All thresholds between
    margins are tried. (The published code tries some hundreds, and fails on more than one.)

    Args:
        unlearned_MN, retrained_MN: margins, at least 2 models each.

    Raises:
        BadInput: for fewer models, other images on one side, or margins that are not finite.
    """
    unlearned, retrained = sides(unlearned_MN, retrained_MN, ("unlearned", "retrained"), 2)
    found = [
        _epsilons(unlearned[:, at : at + _CHUNK].T, retrained[:, at : at + _CHUNK].T, delta)
        for at in range(0, unlearned.shape[1], _CHUNK)
    ]
    return np.concatenate(found) if found else np.empty(0)


def score(epsilons_N: Any, bins: int = 13) -> float:
    """F: mean over images of 2^(1 - bin), bins of ε half a unit wide, numbered from 1; the last has no upper end.

    At most 1, and for two sets of retrained models far below: 0.18 for 8 models, 0.08 for 64 and 0.06 for 512. (The
    published code has as many bins as its models can fill, 14 for 512, and gives nothing beyond the last.)
    Raises BadInput for no images.
    """
    found = np.asarray(epsilons_N, np.float64)
    if not found.size or bins < 1:
        raise BadInput(f"a forgetting quality needs images and bins, these are {found.size} and {bins}")
    number = np.minimum(np.floor(np.minimum(found, CAP) / BIN), bins - 1)
    return float(np.exp2(-number).mean())


def final(quality: float, retain: tuple[float, float], test: tuple[float, float]) -> float:
    """The challenge's final score: F · RA/RA of Retrain · TA/TA of Retrain. As published, ratios may exceed 1."""
    return quality * retain[0] / retain[1] * test[0] / test[1]


def _epsilons(unlearned_NM: np.ndarray, retrained_NM: np.ndarray, delta: float) -> np.ndarray:
    unlearned, retrained = np.sort(unlearned_NM, 1), np.sort(retrained_NM, 1)
    retrain_higher = np.median(retrained, 1) > np.median(unlearned, 1)
    ranges = np.ptp(unlearned, axis=1), np.ptp(retrained, axis=1)
    retrain_within = np.where(ranges[0] == ranges[1], ~retrain_higher, ranges[1] < ranges[0])
    found = np.maximum(
        _by_side(retrain_higher, retrained, unlearned, _of_thresholds, delta),
        _by_side(retrain_within, retrained, unlearned, _of_intervals, delta),
    )
    narrow = np.minimum(*ranges) < NARROW * np.maximum(*ranges)
    return np.where(narrow, CAP, found)


def _by_side(
    first_N: np.ndarray, one: np.ndarray, other: np.ndarray, rule: Callable[..., np.ndarray], delta: float
) -> np.ndarray:
    """A rule's ε with `one` as its first side where `first_N` says so, elsewhere with `other`."""
    found = np.empty(len(one))
    for rows, (a, b) in ((first_N, (one, other)), (~first_N, (other, one))):
        found[rows] = rule(a[rows], b[rows], delta)
    return found


def _of_thresholds(high_NM: np.ndarray, low_NM: np.ndarray, delta: float) -> np.ndarray:
    """ε of the best threshold, above which a margin is called one of `high`'s."""
    pooled = np.concatenate([high_NM, low_NM], 1)
    order = np.argsort(pooled, 1, kind="stable")
    values = np.take_along_axis(pooled, order, 1)
    missed = np.cumsum(
        order < high_NM.shape[1], 1
    )  # of high's, by the place in the row that the threshold is above
    alarms = np.arange(pooled.shape[1], 0, -1) - 1 - (high_NM.shape[1] - missed)
    found = _allowed(alarms / low_NM.shape[1], missed / high_NM.shape[1], delta)
    between = values[:, 1:] > values[:, :-1]
    return np.where(between, found[:, :-1], 0.0).max(1, initial=0.0)


def _of_intervals(within_NM: np.ndarray, beyond_NL: np.ndarray, delta: float) -> np.ndarray:
    """ε of the best interval, in which a margin is called one of `within`'s.

    For each number of false alarms only the interval counts that misses fewest, and with false alarms at least one.
    """
    ends, starts = _ends(within_NM, beyond_NL), _starts(within_NM, beyond_NL)
    most, count = within_NM.shape[1], beyond_NL.shape[1]
    found = np.where((ends.whole - starts.whole).max(1) == most, CAP, 0.0)
    for alarms in range(1, count + 1):
        upper, lower = slice(alarms, None), slice(count + 1 - alarms)
        caught = np.maximum(
            (ends.whole[:, upper] - starts.less[:, lower]).max(1),
            (ends.less[:, upper] - starts.whole[:, lower]).max(1),
        )
        missed = np.where(caught >= 0, 1 - caught / most, np.inf)
        found = np.maximum(found, _allowed(np.full(len(missed), alarms / count), missed, delta))
    return found


class _Bounds(NamedTuple):
    """How many of the inner side lie below each possible end of an interval, N x (L + 1).

    The ends lie next to one of the other side's margins, or at infinity. whole: as many as possible are within; less:
    at least the outermost one is not. `_NEVER` either way stands for an end that there is not.
    """

    whole: np.ndarray
    less: np.ndarray


_NEVER = 1 << 30


def _starts(within_NM: np.ndarray, beyond_NL: np.ndarray) -> _Bounds:
    """Bounds just above the greatest margin of `beyond` that stays outside, or at minus infinity."""
    below = _count(within_NM, beyond_NL)
    first = np.zeros((len(below), 1), np.int32)
    whole = np.concatenate([first, below], 1)
    whole[:, 1:-1][beyond_NL[:, 1:] == beyond_NL[:, :-1]] = _NEVER  # equal margins are on one side together
    least = within_NM[:, :1]
    equal = (within_NM == least).sum(1, keepdims=True, dtype=np.int32)
    after = np.concatenate([beyond_NL, np.full((len(below), 1), np.inf)], 1)
    less = np.where(whole >= equal, whole, np.where(least < after, equal, _NEVER))
    return _Bounds(whole, less.astype(np.int32))


def _ends(within_NM: np.ndarray, beyond_NL: np.ndarray) -> _Bounds:
    """Bounds just below the least margin of `beyond` that stays outside, or at infinity: `_starts` seen backwards."""
    most = within_NM.shape[1]
    backwards = _starts(-within_NM[:, ::-1], -beyond_NL[:, ::-1])
    return _Bounds(*(most - bound[:, ::-1] for bound in backwards))


def _count(within_NM: np.ndarray, beyond_NL: np.ndarray) -> np.ndarray:
    """How many of each row's margins are at most each of the other's."""
    rows = [np.searchsorted(row, at, "right") for row, at in zip(within_NM, beyond_NL, strict=True)]
    return np.array(rows, np.int32).reshape(beyond_NL.shape)


def _allowed(false_alarms: np.ndarray, missed: np.ndarray, delta: float) -> np.ndarray:
    """What (ε, δ) must allow for at these error rates; 0 where a single one of them is 0."""
    least = np.finfo(np.float64).tiny
    with np.errstate(divide="ignore"):
        found = np.maximum(
            np.log(np.maximum(1 - delta - false_alarms, least)) - np.log(missed),
            np.log(np.maximum(1 - delta - missed, least)) - np.log(false_alarms),
        )
    perfect = (false_alarms == 0) & (missed == 0)
    lopsided = (false_alarms == 0) ^ (missed == 0)
    return np.where(perfect, CAP, np.where(lopsided, 0.0, np.clip(found, 0, CAP)))
