"""Where MIA says little: sentences about attacks that a hair's breadth decides (see `core.metrics.attack`)."""

from collections.abc import Callable, Mapping, Sequence

from orchestrator.results import Entry
from orchestrator.spec import titles

HARDLY = 5.0  # points of separation from 50, below which the attack has next to nothing to learn from
HAIR = 10.0  # points that MIA moves when its classifier learns from every second image
JUMP = 50.0  # points between seeds of one method

Values = Sequence[float]


def attack_notes(methods: Mapping[str, Sequence[Entry]]) -> list[str]:
    """A sentence for each way in which MIA is not to be relied on, with the methods it is true of and by how much."""
    close = _told(methods, "mia_separation", lambda v: min(abs(x - 50) for x in v) < HARDLY, _nearest)
    swing = _told(methods, "mia_swing", lambda v: max(v) > HAIR, lambda v: f"{max(v):.1f}")
    jump = _told(methods, "mia", lambda v: max(v) - min(v) > JUMP, lambda v: f"{min(v):.1f} to {max(v):.1f}")
    sentences = {
        f"MIA has next to nothing to learn from: AUC in percent of retained against test images {close}": close,
        f"MIA hangs on a hair: learned from every second image it moves by up to, in points, {swing}": swing,
        f"MIA jumps between seeds, and AG and the noise floor with it: {jump}": jump,
    }
    notes = [sentence for sentence, told in sentences.items() if told]
    return (
        [*notes, "Where MIA is unsure, AUC and TPR at 1 % FPR say what its confidences hold"] if notes else []
    )


def _told(
    methods: Mapping[str, Sequence[Entry]],
    name: str,
    wrong: Callable[[Values], bool],
    say: Callable[[Values], str],
) -> str:
    """The methods of whose values over seeds something is wrong: `FT 98.6, Retrain 95.1`."""
    found = {
        method: [value for entry in entries if (value := (entry.row or {}).get(name)) is not None]
        for method, entries in methods.items()
    }
    return ", ".join(
        f"{titles.title(m)} {say(values)}" for m, values in found.items() if values and wrong(values)
    )


def _nearest(values: Values) -> str:
    return f"{min(values, key=lambda value: abs(value - 50)):.1f}"
