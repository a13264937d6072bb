"""The noise floor: how far two Retrains lie apart that differ in their seed alone.

An AG, or a difference of two AGs, that is no larger says nothing (ALGORITHMS 9.7).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from statistics import fmean
from typing import Literal

from core.metrics import FIGURES, average_gap

Near = Literal["", "best", "retrain"]


@dataclass(frozen=True)
class Floor:
    """AG between Retrains of different seed, in percentage points: mean, smallest and largest of all pairs.

    attack: the mean difference of their MIA alone, a quarter of which is in the mean.
    """

    mean: float
    low: float
    high: float
    pairs: int
    attack: float = field(default=0.0, compare=False)


def noise_floor(retrains: Sequence[Mapping[str, float]]) -> Floor | None:
    """The floor of one problem's Retrains, one per seed; None for fewer than two."""
    both = list(combinations(retrains, 2))
    gaps = [average_gap(one, other) for one, other in both]
    if not gaps:
        return None
    attack = fmean(abs(one["mia"] - other["mia"]) for one, other in both)
    return Floor(fmean(gaps), min(gaps), max(gaps), len(gaps), attack)


def floor_text(floor: Floor | None, seeds: int) -> str:
    """The floor as the tables state it; seeds: of the grid."""
    if floor is None:
        why = "with one seed" if seeds == 1 else "with fewer than two finished Retrains"
        return f"unknown {why}: how far two trainings lie apart"
    pairs = "1 pair" if floor.pairs == 1 else f"{floor.pairs} pairs, {floor.low:.2f} to {floor.high:.2f}"
    attack = floor.attack / len(FIGURES)
    mostly = f", of which {attack:.2f} are MIA's" if attack > floor.mean / 2 else ""
    return f"AG {floor.mean:.2f} between Retrains of different seed ({pairs}){mostly}"
