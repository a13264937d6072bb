"""Two grids beside each other: each method on each problem that both have, and what moved by more than the noise."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from statistics import fmean
from typing import Any

from core.errors import BadInput
from core.metrics import FIGURES
from orchestrator import environment
from orchestrator.plan import Cell, expand, make_plan
from orchestrator.report.contents import GridContents, read_grid
from orchestrator.report.intervals import figure
from orchestrator.report.noise import noise_floor
from orchestrator.results import Entry, Row, known_grids
from orchestrator.spec import GridSpec, titles
from tasks.store import Store

COMPARED = (*FIGURES, "ag")
_AXES = {"recipe", "datasets", "archs", "quantizers", "ratios", "classes", "methods", "seeds"}
_BESIDE = {"tracking", "resources", "needs_gpu", "keep"}  # what changes no figure
_TERMS = 8  # settings named that differ


@dataclass(frozen=True)
class Difference:
    """One figure of both grids, in percentage points. moved: by more than the floor; None where that is unknown."""

    here: float
    there: float
    moved: bool | None

    @property
    def change(self) -> float:
        """Here less there."""
        return self.here - self.there


@dataclass(frozen=True)
class Change:
    """A method on a problem, as means over the seeds that both grids have.

    at: its coordinates, without a seed. interval: half the 95 % interval of AG's change, paired by seed; None for one
    seed. floors: what each figure is judged by, see `figure_floors`; None where neither grid has two Retrains.
    """

    at: Cell
    seeds: tuple[int, ...]
    figures: dict[str, Difference]
    interval: float | None
    floors: Mapping[str, float] | None

    @property
    def title(self) -> str:
        """The method's title."""
        return titles.title(self.at.method)

    @property
    def moved(self) -> bool | None:
        """Whether any figure moved by more than the floor; None where that is unknown."""
        return None if self.floors is None else any(each.moved for each in self.figures.values())


@dataclass(frozen=True)
class GridDifferences:
    """A grid (here) against another (there). terms: settings that differ. only_here, only_there: in words."""

    here: str
    there: str
    changes: tuple[Change, ...]
    only_here: tuple[str, ...]
    only_there: tuple[str, ...]
    terms: tuple[str, ...]
    problems: dict[Cell, list[Change]] = field(init=False)

    def __post_init__(self) -> None:
        groups: dict[Cell, list[Change]] = {}
        for change in self.changes:
            groups.setdefault(change.at.problem, []).append(change)
        object.__setattr__(self, "problems", groups)

    @property
    def moved(self) -> list[Change]:
        """What moved by more than the noise."""
        return [change for change in self.changes if change.moved]

    @property
    def verdict(self) -> str:
        """The outcome in a sentence."""
        judged = [change for change in self.changes if change.floors is not None]
        said = f"{len(self.moved)} of {len(judged)} moved by more than the noise" if judged else ""
        unknown = len(self.changes) - len(judged)
        why = f"{unknown} cannot be judged: neither grid has two Retrains of different seed, so their noise is unknown"
        return "; ".join(part for part in (said, why if unknown else "") if part)

    def as_json(self) -> dict[str, Any]:
        """The comparison as plain values."""
        return {
            "here": self.here,
            "there": self.there,
            "changes": [
                {
                    **{name: value for name, value in change.at._asdict().items() if name != "seed"},
                    "seeds": list(change.seeds),
                    "noise_floor": dict(change.floors) if change.floors else None,
                    "moved": change.moved,
                    "ag_interval": change.interval,
                    **{
                        name: {"here": d.here, "there": d.there, "difference": d.change, "moved": d.moved}
                        for name, d in change.figures.items()
                    },
                }
                for change in self.changes
            ],
            "only_here": list(self.only_here),
            "only_there": list(self.only_there),
            "settings_that_differ": list(self.terms),
        }


def compare_stores(store: Store, found: GridContents, spec: GridSpec, other: str) -> GridDifferences:
    """What was found in a store against the grid that last ran in another one.

    Raises BadInput where there is no such grid, and where the two have nothing in common.
    """
    opened = Store(environment.store_uri(other, ""))
    if opened.uri == store.uri:
        raise BadInput(f"--against {other} is the store itself; name another one")
    opened.check_readable()
    known_grids.refuse_newer_store(opened)
    theirs = known_grids.stored_grid(opened)
    if theirs is None:
        raise BadInput(f"--against {other}: no grid in {opened.uri}; name a store in which a grid ran")
    there = read_grid(opened, theirs, expand(make_plan(theirs), opened))
    result = compare(found, there, (store.uri, opened.uri), _terms(spec, theirs))
    if not result.changes:
        raise BadInput(
            f"nothing to compare: {store.uri} holds {_held(found)}, {opened.uri} holds {_held(there)}; compare grids "
            "that share a data set, network, quantization, forget set, method and seed"
        )
    return result


def compare(
    here: GridContents, there: GridContents, names: tuple[str, str], terms: Iterable[str] = ()
) -> GridDifferences:
    """What two grids hold in common, cell by cell, in the first one's order. names: what they are called."""
    ours, theirs = _by_cell(here.entries), _by_cell(there.entries)
    floors = [_floors(here), _floors(there)]
    changes = []
    for at, entries in ours.items():
        seeds = [seed for seed in entries if seed in theirs.get(at, {})]
        if seeds:
            known = [each[at.problem] for each in floors if at.problem in each]
            larger = {name: max(each[name] for each in known) for name in COMPARED} if known else None
            pairs = [(entries[seed], theirs[at][seed]) for seed in seeds]
            changes.append(_change(at, seeds, pairs, larger))
    common = {change.at for change in changes}
    return GridDifferences(
        *names,
        tuple(changes),
        tuple(_words(at) for at in ours if at not in common),
        tuple(_words(at) for at in theirs if at not in common),
        tuple(terms),
    )


def _change(
    at: Cell, seeds: list[int], pairs: list[tuple[Entry, Entry]], floors: Mapping[str, float] | None
) -> Change:
    figures, interval = {}, None
    for name in COMPARED:
        values = [(_value(one, name), _value(other, name)) for one, other in pairs]
        both = [(a, b) for a, b in values if a is not None and b is not None]
        if not both or (name == "ag" and at.method == "retrain"):  # whose AG is 0 by definition
            continue
        mean = fmean(a for a, _ in both), fmean(b for _, b in both)
        figures[name] = Difference(*mean, _moved(mean[0] - mean[1], floors[name] if floors else None))
        if name == "ag" and len(both) > 1:
            interval = figure([a - b for a, b in both]).half
    return Change(at, tuple(seeds), figures, interval, floors)


def _moved(change: float, floor: float | None) -> bool | None:
    """Judged as printed, to two decimals, so that a reader can check it (ALGORITHMS 9.7)."""
    return None if floor is None else round(abs(change), 2) > round(floor, 2)


def _value(entry: Entry, name: str) -> float | None:
    return entry.ag if name == "ag" else (entry.row or {}).get(name)


def _by_cell(entries: Iterable[Entry]) -> dict[Cell, dict[int, Entry]]:
    """The entries that have figures, by coordinates without the seed, then by seed."""
    found: dict[Cell, dict[int, Entry]] = {}
    for entry in entries:
        if entry.row:
            found.setdefault(entry.cell._replace(seed=0), {})[entry.cell.seed] = entry
    return found


def _floors(found: GridContents) -> dict[Cell, Mapping[str, float]]:
    """By problem, where there are two Retrains."""
    retrains: dict[Cell, list[Row]] = {}
    for entry in found.entries:
        if entry.row and entry.cell.method == "retrain":
            retrains.setdefault(entry.cell._replace(seed=0), []).append(entry.row)
    return {at: figure_floors(rows) for at, rows in retrains.items() if len(rows) > 1}


def figure_floors(retrains: Sequence[Row]) -> dict[str, float]:
    """What a change of each figure must exceed, from at least two Retrains that differ in their seed alone.

    For AG the noise floor (ALGORITHMS 9.7). That is a mean over four figures: one that by itself differs more between
    Retrains, as MIA does, is held to its own mean difference.
    """
    floor = noise_floor(retrains)
    assert floor is not None
    own = {name: fmean(abs(a[name] - b[name]) for a, b in combinations(retrains, 2)) for name in FIGURES}
    return {name: max(own.get(name, 0.0), floor.mean) for name in COMPARED}


def _words(at: Cell) -> str:
    return f"{problem_words(at)} · {titles.title(at.method)}"


def problem_words(at: Cell) -> str:
    """`Digits · ResNet-18 · 4w4a · random 10 %`."""
    parts = (
        titles.title(at.dataset),
        titles.title(at.arch),
        at.quant,
        titles.scenario(at.scenario, at.amount),
    )
    return " · ".join(parts)


def _held(found: GridContents) -> str:
    """What a store has figures of, in a few words."""
    cells = [entry.cell for entry in found.entries if entry.row]
    if not cells:
        return "no finished cell"
    axes = (
        (cell.dataset for cell in cells),
        (f"{cell.arch} {cell.quant}" for cell in cells),
        (titles.scenario(cell.scenario, cell.amount) for cell in cells),
        (f"seed {cell.seed}" for cell in cells),
        (cell.method for cell in cells),
    )
    return " / ".join(", ".join(dict.fromkeys(axis)) for axis in axes)


def _terms(here: GridSpec, there: GridSpec) -> list[str]:
    """Settings beside the axes in which two grids differ: `search.trials: 3 here, 5 there`."""
    one, other = (_flat(spec.model_dump(mode="json", exclude=_AXES | _BESIDE)) for spec in (here, there))
    names = [n for n in dict.fromkeys((*one, *other)) if one.get(n) != other.get(n) and n not in _PLACES]
    said = [f"{name}: {one.get(name, 'unset')} here, {other.get(name, 'unset')} there" for name in names]
    return said[:_TERMS] + ([f"and {len(said) - _TERMS} more"] if len(said) > _TERMS else [])


_PLACES = {"data.root", "data.cache", "data.download"}


def _flat(values: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{above}{name}.")
        elif value is not None:
            found[above + name] = value
    return found
