"""Variants of a method that differ in one numeric option alone, and what their trials measured along it.

Two names of facts (points of a trial's curve) mean the same for every method: `<option>_share` is the share that an
option came to, where that may differ from what was asked; `recorded_bytes` is what the original's training left for
the method.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from core.unlearn import METHODS
from orchestrator.plan import Cell, point_of
from orchestrator.report.gradient_norms import first_facts
from orchestrator.results import Entry, Row
from orchestrator.spec import ORIGINAL, base_name, hook_label, label_options, without_option

FEWEST = 3  # settings that make a series
STORED = "recorded_bytes"


@dataclass(frozen=True)
class Point:
    """One variant at one seed.

    row: its figures. asked: the option's value; None where it is no number. measured: what that came to, a share in 0
    to 1; None where nobody measured it. stored: bytes; None where nothing was recorded. original: the evaluation of
    the network that the variant changed.
    """

    entry: Entry
    row: Row
    asked: float | None
    measured: float | None
    stored: float | None
    original: Row | None


@dataclass(frozen=True)
class Series:
    """The points of one problem, seeds included, along one option.

    label: the method with the options that all points share. along: the fact or, where not every point has it, the
    option that `at` reads.
    """

    option: str
    label: str
    along: str
    points: tuple[Point, ...]

    def at(self, point: Point) -> float:
        """Where a point lies."""
        value = point.asked if self.along == self.option else point.measured
        assert value is not None  # others are in no series
        return value


def share_fact(option: str) -> str:
    """The name of the fact that tells what an option came to."""
    return f"{option}_share"


def all_series(entries: Sequence[Entry], rows: Mapping[str, Row]) -> list[Series]:
    """The series of at least `FEWEST` settings, in the entries' order. rows: all by key, which hold the curves.

    A variant that does not name the option counts with the value that it ran with, unless that was searched: then it
    is no one setting.
    """
    known = {entry.cell: entry.row for entry in entries if entry.row}
    runs = [(entry, entry.row) for entry in entries if entry.row and base_name(entry.cell.method) != ORIGINAL]
    options: dict[str, set[str]] = {}
    for entry, _ in runs:
        options.setdefault(base_name(entry.cell.method), set()).update(label_options(entry.cell.method))
    groups: dict[tuple[Cell, str], list[Point]] = {}
    for entry, row in runs:
        for option in sorted(options[base_name(entry.cell.method)]):
            at = entry.cell._replace(seed=0, method=without_option(entry.cell.method, option))
            groups.setdefault((at, option), []).append(_point(entry, row, option, known, rows))
    found = (_series(option, at.method, points) for (at, option), points in groups.items())
    return [series for series in found if len({point.asked for point in series.points}) >= FEWEST]


def _series(option: str, label: str, points: Sequence[Point]) -> Series:
    """Along the fact if all points have it, else those with a number along the option."""
    if all(point.measured is not None for point in points):
        return Series(option, label, share_fact(option), tuple(points))
    return Series(option, label, option, tuple(point for point in points if point.asked is not None))


def _point(entry: Entry, row: Row, option: str, known: Mapping[Cell, Row], rows: Mapping[str, Row]) -> Point:
    params = json.loads(row["params"] or "{}")
    value = None if option in point_of(row["tried"]) else params.get(option)
    asked = float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
    facts = first_facts(rows.get(row["model"]) or {})
    original = known.get(entry.cell._replace(method=_original(entry.cell.method, params)))
    return Point(entry, row, asked, facts.get(share_fact(option)), facts.get(STORED), original)


def _original(label: str, params: dict[str, Any]) -> str:
    """The label of the original that a variant changes."""
    method = METHODS[base_name(label)]
    if method.hook is None:
        return ORIGINAL
    return f"{ORIGINAL}:{hook_label(method, method.hook.setting(method.params(**params)))}"
