"""An audit's scores beside their floors: the same score of Retrain against Retrain, by as many models."""

from collections.abc import Callable, Collection
from typing import NamedTuple

import numpy as np
from numpy.random import Generator

from core.errors import BadInput
from core.metrics.audit.attacks import ATTACKS, Attack, Samples, check_models
from core.metrics.audit.evidence import Evidence

_ORDERS = 20  # in which Retrains stand for unlearned models, at most
_RESAMPLES = 200  # of images, over all orders
_WORK = 8e6  # margins × orders, and samples × resamples: an attack on 10,000 images by 512 models takes 30 seconds


class Reading(NamedTuple):
    """A score, its floor, and the 95 % interval of the floor."""

    value: float
    floor: float
    low: float
    high: float

    @property
    def like_retrain(self) -> bool:
        """Whether the floor cannot tell the score from Retrain's."""
        return self.low <= self.value <= self.high


class Audit(NamedTuple):
    """readings: by column. samples: those of the method, by attack. left_out: attacks that cannot, with the reason."""

    readings: dict[str, Reading]
    samples: dict[str, Samples]
    left_out: dict[str, str]


def audited(evidence: Evidence, names: Collection[str], generator: Generator) -> Audit:
    """Every score of the named attacks beside its floor.

    A floor is the mean over orders drawn at random in which Retrains stand for the unlearned models; its interval are
    percentiles of a bootstrap over orders and images. Both are coarser for many images and models.

    Raises:
        BadInput: where none of the attacks can, for too few models or images.
    """
    found = Audit({}, {}, {})
    orders = [generator.permutation(evidence.models) for _ in range(_times(evidence.inside.size, 2, _ORDERS))]
    for name in names:
        try:
            check_models(evidence.models, [name])
            samples, readings = _attacked(ATTACKS[name], evidence, orders, generator)
        except BadInput as error:
            found.left_out[name] = str(error)
            continue
        found.samples[name] = samples
        found.readings.update(readings)
    if not found.readings:
        raise BadInput("; ".join(found.left_out.values()) or "an audit needs attacks")
    return found


def _attacked(
    attack: Attack, evidence: Evidence, orders: list[np.ndarray], generator: Generator
) -> tuple[Samples, dict[str, Reading]]:
    samples = attack.samples(evidence)
    by_chance = [attack.samples(evidence.of_retrain(order)) for order in orders]
    readings = {}
    for column, score in attack.scores.items():
        floor = float(np.mean([score.value(*found) for found in by_chance]))
        low, high = _interval(by_chance, score.value, generator)
        readings[column] = Reading(score.value(*samples), floor, low, high)
    return samples, readings


def _interval(
    by_order: list[Samples], value: Callable[..., float], generator: Generator
) -> tuple[float, float]:
    """Percentiles of a score over orders and over images drawn with replacement."""
    each = _times(sum(map(len, by_order[0])), 4, max(1, _RESAMPLES // len(by_order)))
    found = [
        value(*(sample[generator.integers(len(sample), size=len(sample))] for sample in samples))
        for samples in by_order
        for _ in range(each)
    ]
    low, high = np.percentile(found, (2.5, 97.5))
    return float(low), float(high)


def _times(size: int, least: int, most: int) -> int:
    """How often something of a size is repeated."""
    return int(np.clip(_WORK / max(size, 1), least, most))
