"""Which hyper-parameters a cell tries, and for how many epochs: the same number of trials for every method."""

import json
from collections.abc import Generator, Mapping, Sequence
from functools import lru_cache
from typing import Any

from core.unlearn import Choice, Range, Space
from orchestrator.spec import json_or_text

GOLDEN = 0.6180339887498949  # steps of this share never repeat and fill a range evenly
Point = dict[str, Any]  # values, numbers or words, of the searched hyper-parameters
Part = tuple[int, int]  # a trial's number, and the epochs after which to look at it


def grid_points(space: Space, trials: int) -> tuple[Point, ...]:
    """The points of a search through a space, to 4 significant digits.

    The first range is cut evenly from end to end (logarithmically where it is a learning rate). A further
    range takes golden-ratio steps, so that every trial sees another value and no trial is added: two
    dimensions cost what one does. One trial sits in the middle. A method with nothing to search has one trial, and of
    values to choose among there are no more trials than different ones.
    """
    return _points(tuple(space.items()), trials)


@lru_cache(maxsize=256)
def _points(ranges: tuple[tuple[str, Range | Choice], ...], trials: int) -> tuple[Point, ...]:
    if not ranges:
        return ({},)
    points: dict[tuple[Any, ...], Point] = {}
    for number in range(trials):
        shares = [number / (trials - 1) if trials > 1 else 0.5]
        shares += [((number + 1) * GOLDEN * dimension) % 1 for dimension in range(1, len(ranges))]
        point = {name: rounded(r.at(at)) for (name, r), at in zip(ranges, shares, strict=True)}
        points.setdefault(tuple(point.values()), point)
    return tuple(points.values())


def rounded(value: Any) -> Any:
    """A hyper-parameter to 4 significant digits, which is what a person can read and set; others as they are."""
    return float(f"{value:.4g}") if isinstance(value, float) else value


def tried_text(point: Point) -> str:
    """`lr 0.012 order sequential`: a point in the line that names its trial."""
    return " ".join(f"{name} {_text(value)}" for name, value in point.items())


def _text(value: Any) -> str:
    return (
        f"{value:g}" if isinstance(value, float) else value if isinstance(value, str) else json.dumps(value)
    )


def point_of(tried: str | None) -> Point:
    """The point of a row's `tried`, such as `lr 0.012 fraction 0.37`."""
    parts = (tried or "").split()
    return {name: json_or_text(value) for name, value in zip(parts[::2], parts[1::2], strict=True)}


def space_json(space: Space) -> dict[str, Any]:
    """A space as a search node's inputs have it; `space_from` reads it."""
    return {name: _range_json(values) for name, values in space.items()}


def _range_json(values: Range | Choice) -> Any:
    if isinstance(values, Choice):
        return {"values": list(values.values)}
    return [values.low, values.high, values.log, *(["whole"] if values.whole else [])]


def space_from(found: Mapping[str, Any]) -> Space:
    """The space in a search node's inputs."""
    return {name: _range_from(values) for name, values in found.items()}


def _range_from(values: Any) -> Range | Choice:
    if isinstance(values, dict):
        return Choice(tuple(values["values"]))
    low, high, log, *whole = values
    return Range(low, high, log, bool(whole))


def rungs(epochs: int, first: int, reduction: int) -> list[int]:
    """After how many epochs the trials of a cell are compared: first, first · reduction, …, and at the end."""
    found, rung = [], first
    while rung < epochs:
        found.append(rung)
        rung *= reduction
    return [*found, epochs]


def halving(
    trials: int, rungs: Sequence[int], reduction: int
) -> Generator[list[Part], Mapping[int, float | None], None]:
    """Successive halving (Jamieson & Talwalkar 2016): of the trials at a rung, the best 1 / reduction go on.

    Yields the parts to run next and is sent their gaps to Retrain by trial, None for one that failed. What
    goes on depends on the gaps alone, not on the order in which they come. A trial that fails makes room for
    the next best of the rung before; equal gaps go by number.
    """
    ranked = list(range(trials))
    for number, epochs in enumerate(rungs):
        room, passed = room_at(trials, number, reduction), dict[int, float]()
        while ranked and len(passed) < room:
            count = room - len(passed)
            batch, ranked = ranked[:count], ranked[count:]
            gaps = yield [(trial, epochs) for trial in batch]
            passed |= {trial: gap for trial in batch if (gap := gaps[trial]) is not None}
        ranked = sorted(passed, key=lambda trial: (passed[trial], trial))


def room_at(trials: int, rung: int, reduction: int) -> int:
    """How many trials successive halving looks at on a rung."""
    return max(1, -(-trials // reduction**rung))
