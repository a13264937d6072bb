"""Every trial of a cell as its selection saw it, and selections that sit at the end of a searched range."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from core.metrics import FIGURES, average_gap
from core.unlearn import Range, Space
from orchestrator.plan import Cell, Plan, Point, point_of
from orchestrator.results import Entry, Row
from orchestrator.spec import base_name, titles

End = Literal["lower", "upper"]
NEAR_END = 0.01  # share of a range, in its own scale, that still counts as its end
KEY_DIGITS = 12


@dataclass(frozen=True)
class EvaluatedTrial:
    """One evaluated trial of a cell.

    key: of its evaluation. row: the evaluation's. point: the searched hyper-parameters. whole: whether it ran to its
    end; a search also looks at trials on the way. selected: chosen by the cell's selection. reference, ag: Retrain and
    the gap to it; None without it, and where it is refused. ag_validation: the gap that selection read, where it has.
    space: what the cell searched.
    """

    cell: Cell
    key: str
    row: Row
    reference: Row | None
    point: Point
    whole: bool
    selected: bool
    ag: float | None
    ag_validation: float | None
    space: Space

    def difference(self, figure: str) -> float | None:
        """A figure less Retrain's, in percentage points."""
        return self.row[figure] - self.reference[figure] if self.reference else None


@dataclass(frozen=True)
class Edge:
    """A selected value at an end of its range, and the seeds of which it is true; `among` seeds were searched."""

    method: str
    parameter: str
    value: float
    end: End
    range: Range
    seeds: tuple[int, ...]
    among: int

    @property
    def text(self) -> str:
        """`Q-MUL's best lr 0.1 is the upper end of its range 0.001 to 0.1: the optimum may lie beyond; … widens it`."""
        low, high = f"{self.range.low:g}", f"{self.range.high:g}"
        names = ", ".join(map(str, self.seeds))
        wider = f"[{low},…]" if self.end == "upper" else f"[…,{high}]"
        who = "" if self.among == 1 else f" (seed{'s' if len(self.seeds) > 1 else ''} {names})"
        return (
            f"{titles.title(self.method)}'s best {self.parameter} {self.value:g}{who} is the {self.end} end of its"
            f" range {low} to {high}: the optimum may lie beyond;"
            f" search.ranges.{base_name(self.method)}.{self.parameter}={wider} widens it"
        )


def evaluated_trials(plan: Plan, entries: Iterable[Entry], rows: Mapping[str, Row]) -> list[EvaluatedTrial]:
    """The finished trials of the entries' cells, in the entries' order. rows: by key."""
    return [
        trial
        for entry in entries
        if (node := plan.nodes[entry.key]).kind == "select"
        for evaluation in plan.evaluations(node)
        if (row := rows.get(evaluation.key)) and row["status"] == "done"
        for space in [plan.spaces[entry.cell.method, entry.cell.arch]]
        for trial in [_tried(entry, evaluation.key, row, "until" not in evaluation.inputs, space)]
    ]


def _tried(entry: Entry, key: str, row: Row, whole: bool, space: Space) -> EvaluatedTrial:
    chosen = entry.row or {}
    seen = {found["evaluation"]: found["ag_validation"] for found in chosen.get("candidates") or ()}
    ag = None
    reference = None if entry.refused else entry.reference
    if reference:
        ag = average_gap(*({name: one[name] for name in FIGURES} for one in (row, reference)))
    return EvaluatedTrial(
        entry.cell, key, row, reference, point_of(row["tried"]), whole, chosen.get("selected") == key, ag,
        seen.get(key), space,
    )  # fmt: skip


def ends(trial: EvaluatedTrial) -> dict[str, End]:
    """The searched hyper-parameters of a trial whose value is an end of the range, and which end."""
    searched = {name: values for name, values in trial.space.items() if isinstance(values, Range)}
    found = {name: _end(searched[name], value) for name, value in trial.point.items() if name in searched}
    return {name: end for name, end in found.items() if end}


def _end(range_: Range, value: float) -> End | None:
    low, high = range_.low, range_.high
    if range_.log:
        low, high, value = math.log(low), math.log(high), math.log(value)
    share = (value - low) / (high - low)
    return "lower" if share <= NEAR_END else "upper" if share >= 1 - NEAR_END else None


def edges_of(tried: Sequence[EvaluatedTrial]) -> list[Edge]:
    """Selected values at an end of their range; equal ones of several seeds are one. Needs at least two trials."""
    searched = _searched(tried)
    groups: dict[tuple[str, str, float], list[EvaluatedTrial]] = {}
    for trial in tried:
        if trial.selected and len(searched[trial.cell]) > 1:
            for name in ends(trial):
                groups.setdefault((trial.cell.method, name, trial.point[name]), []).append(trial)
    order = list(dict.fromkeys(cell.method for cell in searched))
    return [_edge(*at, groups[at], searched) for at in sorted(groups, key=lambda at: order.index(at[0]))]


def _searched(tried: Sequence[EvaluatedTrial]) -> dict[Cell, set[str]]:
    found: dict[Cell, set[str]] = {}
    for trial in tried:
        found.setdefault(trial.cell, set()).add(trial.row["tried"] or "")
    return found


def _edge(
    method: str, name: str, value: float, found: Sequence[EvaluatedTrial], searched: Mapping[Cell, set[str]]
) -> Edge:
    range_ = found[0].space[name]
    assert isinstance(range_, Range)
    seeds = tuple(sorted({trial.cell.seed for trial in found}))
    among = sum(cell.method == method for cell in searched)
    return Edge(method, name, value, ends(found[0])[name], range_, seeds, among)
