"""What a node function hands back, and the names of the files in it."""

from typing import Any, NamedTuple

from core.train import OnEpoch
from tasks.record import EpochFact

PREDICTIONS = "predictions.npz"
MARGINS = "margins.npz"


class Result(NamedTuple):
    """What a node function returns: files by name, small facts, and what its row has beside coordinates."""

    files: dict[str, bytes]
    facts: dict[str, Any]
    row: dict[str, Any]


class Curve:
    """Collects what a training loop says about its epochs. tell: who hears of each, too."""

    def __init__(self, tell: OnEpoch) -> None:
        self.facts: list[EpochFact] = []
        self._tell = tell

    def add(self, epoch: int, facts: dict[str, float]) -> None:
        """One epoch's facts."""
        self._tell(epoch, facts)
        self.facts += [EpochFact(epoch=epoch, name=name, value=value) for name, value in facts.items()]
