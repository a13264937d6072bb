"""A grid's tables turned round: the values of one figure, methods down, problems across."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import hypot

from orchestrator.plan import Cell
from orchestrator.report.intervals import Figure, decimals
from orchestrator.report.layouts.definitions import AVERAGE_GAP, LAYOUTS, Better, Layout, Measure, measures
from orchestrator.report.tables import Role, Table
from orchestrator.spec import base_name, titles


@dataclass(frozen=True)
class Column:
    """A problem. number: of its table, from 1. parts: the words that tell it from the other columns."""

    number: int
    problem: str
    parts: tuple[str, ...]


@dataclass(frozen=True)
class Value:
    """A cell. seeds: of the grid. hole: why there is no figure; nothing where there is none to have."""

    figure: Figure | None = None
    seeds: int = 0
    hole: str = ""
    best: bool = False

    @property
    def partial(self) -> bool:
        """Whether some of the grid's seeds are missing."""
        return self.figure is not None and self.figure.count < self.seeds

    @property
    def status(self) -> str:
        """The first word of the hole: missing, unfinished or failed."""
        return self.hole.partition(":")[0]


@dataclass(frozen=True)
class PivotRow:
    """A method's values, one for each column."""

    method: str
    title: str
    role: Role
    values: tuple[Value, ...]


@dataclass(frozen=True)
class Pivot:
    """A layout filled. places: decimals, see `decimals`. common: what all of the grid's problems share.

    left_out: problems that cannot have the figure, and why.
    """

    layout: Layout
    places: int | None
    common: str
    columns: tuple[Column, ...]
    rows: tuple[PivotRow, ...]
    left_out: tuple[str, ...] = ()

    @property
    def seeds(self) -> int:
        """Of the grid."""
        return max(value.seeds for row in self.rows for value in row.values)


def pivots(recipe: str, tables: Sequence[Table]) -> tuple[Pivot, ...]:
    """The tables of a grid in the layouts of its recipe; AG for another grid that has more than one.

    A layout whose figure no problem can have, or that no method has a line in, is left out.
    """
    if not tables:
        return ()
    own = (AVERAGE_GAP,) if len(tables) > 1 else ()
    made = (_pivot(layout, tables) for layout in LAYOUTS.get(recipe, own))
    return tuple(pivot for pivot in made if any(row.role == "method" for row in pivot.rows))


def _pivot(layout: Layout, tables: Sequence[Table]) -> Pivot:
    measure = measures()[layout.figure]
    coordinates = [_coordinates(table.at) for table in tables]
    varies = [len(set(axis)) > 1 for axis in zip(*coordinates, strict=True)]
    varies = varies if any(varies) else [True] * len(varies)  # of a single problem everything is said
    shown, left_out = [], []
    for number, (table, words_) in enumerate(zip(tables, coordinates, strict=True), 1):
        parts = tuple(word for word, tells in zip(words_, varies, strict=True) if tells)
        if why := measure.lacks(table.at):
            left_out.append(f"{' · '.join(parts)} ({why})")
        else:
            shown.append((Column(number, table.title, parts), table))
    common = (word for word, tells in zip(coordinates[0], varies, strict=True) if not tells)
    columns = tuple(column for column, _ in shown)
    rows = _rows(layout, measure, [table for _, table in shown])
    return Pivot(layout, measure.places, " · ".join(common), columns, rows, tuple(left_out))


def _coordinates(at: Cell) -> tuple[str, ...]:
    return (
        titles.title(at.dataset),
        titles.title(at.arch),
        at.quant,
        titles.scenario(at.scenario, at.amount),
    )


def _rows(layout: Layout, measure: Measure, tables: Sequence[Table]) -> tuple[PivotRow, ...]:
    columns = [_column(layout, measure, table) for table in tables]
    lines = {line.method: line for table in tables for line in table.lines if line.role in measure.roles}
    rows = (
        PivotRow(
            method, lines[method].title, lines[method].role, tuple(c.get(method, Value()) for c in columns)
        )
        for method in _originals_beside(list(lines))
    )
    return tuple(row for row in rows if any(value.figure or value.hole for value in row.values))


def _originals_beside(methods: Sequence[str]) -> list[str]:
    """The methods with the originals that one of them took part in directly above the first of its name."""
    hooked: dict[str, list[str]] = {}
    for method in methods:
        of, _, label = method.partition(":")
        if of == titles.ORIGINAL and label:
            hooked.setdefault(base_name(label), []).append(method)
    ordered: list[str] = []
    for method in methods:
        if base_name(method) != titles.ORIGINAL:
            ordered += hooked.pop(base_name(method), [])
        elif ":" in method:
            continue
        ordered.append(method)
    return ordered


def _column(layout: Layout, measure: Measure, table: Table) -> Mapping[str, Value]:
    """A problem's values by method, the best of them marked."""
    found = {line.method: measure.read(line) for line in table.lines}
    methods = {n.method: f for n in table.lines if n.role == "method" and (f := found[n.method])}
    best = {table.verdict.best} if layout.figure == "ag" else _best(layout, measure, methods)
    return {
        line.method: Value(found[line.method], line.seeds, line.hole, line.method in best)
        for line in table.lines
        if line.role in measure.roles
    }


def _best(layout: Layout, measure: Measure, methods: Mapping[str, Figure]) -> set[str]:
    """The best among the methods with the most seeds, if it is told apart from all others; never by one seed.

    Two are told apart whose difference is larger than both their intervals, joined square and add.
    """
    most = max((figure.count for figure in methods.values()), default=0)
    scores = {
        method: score
        for method, figure in methods.items()
        if figure.count == most and (score := _score(layout.better, figure, measure.places)) is not None
    }
    if most < 2 or not scores:
        return set()
    best = min(scores, key=lambda method: scores[method])
    halves = {method: _half(layout.better, methods[method]) or 0.0 for method in scores}
    told = (
        score - scores[best] > hypot(halves[best], halves[method])
        for method, score in scores.items()
        if method != best
    )
    return {best} if all(told) else set()


def _half(better: Better, figure: Figure) -> float | None:
    return figure.gap_half if better == "nearest" else figure.half


def _score(better: Better, figure: Figure, places: int | None) -> float | None:
    """Smaller is better; None where nothing is, or where there is no Retrain to be near to."""
    kept = decimals(figure.mean, places)
    scores = {
        "higher": -figure.mean,
        "lower": figure.mean,
        "nearest": figure.gap,
        "neither": None,
    }
    score = scores[better]
    return None if score is None else round(score, kept)
