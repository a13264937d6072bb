"""Which hyper-parameters a cell tries, and for how many epochs: the same number of trials for every method."""

from collections.abc import Generator, Mapping, Sequence
from functools import lru_cache

from core.unlearn import METHODS, Range

GOLDEN = 0.6180339887498949  # steps of this share never repeat and fill a range evenly
Point = dict[str, float]  # values of the searched hyper-parameters
Part = tuple[int, int]  # a trial's number, and the epochs after which to look at it


def searched(method: str, arch: str, fixed: frozenset[str]) -> dict[str, Range]:
    """The ranges that a method's search on an architecture goes through; fixed ones are not searched."""
    return {name: r for name, r in METHODS[method].space(arch).items() if name not in fixed}


@lru_cache(maxsize=256)
def grid_points(method: str, arch: str, trials: int, fixed: frozenset[str]) -> tuple[Point, ...]:
    """The points of a method's search on an architecture, to 4 significant digits.

    The first range is cut evenly from end to end (logarithmically where it is a learning rate). A further
    range takes golden-ratio steps, so that every trial sees another value and no trial is added: two
    dimensions cost what one does. One trial sits in the middle. A method with nothing to search has one trial.
    """
    ranges = searched(method, arch, fixed)
    if not ranges:
        return ({},)
    points = []
    for number in range(trials):
        shares = [number / (trials - 1) if trials > 1 else 0.5]
        shares += [((number + 1) * GOLDEN * dimension) % 1 for dimension in range(1, len(ranges))]
        points.append({name: rounded(r.at(at)) for (name, r), at in zip(ranges.items(), shares, strict=True)})
    return tuple(points)


def rounded(value: float) -> float:
    """A hyper-parameter to 4 significant digits, which is what a person can read and set."""
    return float(f"{value:.4g}")


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
