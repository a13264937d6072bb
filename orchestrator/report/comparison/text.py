"""A comparison of two grids as text: on the terminal, in Markdown, as CSV."""

import csv
import io
from typing import TYPE_CHECKING

from orchestrator.plan import Cell
from orchestrator.report.comparison.grids import COMPARED, Change, GridDifferences, problem_words
from orchestrator.report.markdown import HOLE, points

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

MOVED = "!"
HEADINGS = ("Method", *(name.upper() for name in COMPARED[:-1]), "AG here", "there", "difference")
KEY = (
    "Here less there, in percentage points, means over common seeds. !: moved by more than the noise floor, the AG "
    "between Retrains of different seed (the larger of the two grids'), or, where a figure by itself differs more "
    "between Retrains, by more than that."
)
_LISTED = 6  # cells that one grid alone has
_AXES = tuple(name for name in Cell._fields if name != "seed")
COLUMNS = (
    *_AXES, "seeds", "moved", "ag_interval",
    *(f"{name}_{what}" for name in COMPARED for what in ("here", "there", "difference", "floor", "moved")),
)  # fmt: skip


def cells(change: Change) -> list[str]:
    """A line of the comparison: FA to MIA as differences, AG as both values and their difference."""
    shown = [_signed(change, name) for name in COMPARED[:-1]]
    ag = change.figures.get("ag")
    if ag is None:
        return [*shown, "", "", ""]
    interval = "" if change.interval is None else f" ± {change.interval:.2f}"
    return [*shown, points(ag.here), points(ag.there), _signed(change, "ag", interval)]


def _signed(change: Change, name: str, interval: str = "") -> str:
    found = change.figures.get(name)
    if found is None:
        return HOLE
    return points(found.change, signed=True) + interval + (MOVED if found.moved else "")


def floor_words(change: Change) -> str:
    """What the changes of a problem are judged by."""
    seeds = f"seed{'s' if len(change.seeds) > 1 else ''} {', '.join(map(str, change.seeds))}"
    if change.floors is None:
        return f"noise floor unknown, {seeds}"
    own = [
        f"{name.upper()} {value:.2f}" for name, value in change.floors.items() if value > change.floors["ag"]
    ]
    beside = f" ({', '.join(own)})" if own else ""
    return f"noise floor {change.floors['ag']:.2f}{beside}, {seeds}"


def only_lines(against: GridDifferences) -> list[str]:
    """What one of the grids alone has."""
    lines = []
    for where, names in (("here", against.only_here), ("there", against.only_there)):
        if names:
            more = f"; and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
            lines.append(f"only {where}: {'; '.join(names[:_LISTED])}{more}")
    return lines


def print_against(console: "Console", against: GridDifferences) -> None:
    """The comparison on a terminal."""
    from rich.text import Text

    console.print()
    console.print(Text(f"Against {against.there}", "bold"), soft_wrap=True)
    console.print(Text(against.verdict))
    for at, changes in against.problems.items():
        console.print()
        console.print(Text.assemble((problem_words(at), "bold"), (f"  {floor_words(changes[0])}", "dim")))
        console.print(_grid(changes))
    console.print()
    notes = [*(f"differs: {term}" for term in against.terms), *only_lines(against)]
    for line in (*notes, *([""] if notes else []), KEY):
        console.print(Text(line, "dim"))


def _grid(changes: list[Change]) -> "Table":
    from rich import box
    from rich.table import Table
    from rich.text import Text

    grid = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    grid.add_column(HEADINGS[0], min_width=9, overflow="fold")
    for heading in HEADINGS[1:]:
        grid.add_column(heading, justify="right", no_wrap=True)
    for change in changes:
        texts = [
            text + ("" if text.endswith(MOVED) else " ") for text in cells(change)
        ]  # digits stay aligned
        shown = [Text(text, "bold yellow" if text.endswith(MOVED) else "") for text in texts]
        grid.add_row(change.title, *shown)
    return grid


def against_markdown(against: GridDifferences) -> str:
    """The comparison as GitHub Markdown."""
    parts = [f"## Against {against.there}", f"{against.verdict}. {KEY}"]
    for at, changes in against.problems.items():
        rows = [f"| {' | '.join([change.title, *cells(change)])} |" for change in changes]
        rule = "|:--|" + "--:|" * (len(HEADINGS) - 1)
        grid = "\n".join([f"| {' | '.join(HEADINGS)} |", rule, *rows])
        parts += [f"### {problem_words(at)}", f"- {floor_words(changes[0])}", grid]
    lists = [f"- {line}" for line in (*(f"differs: {term}" for term in against.terms), *only_lines(against))]
    return "\n\n".join([*parts, "\n".join(lists)]).rstrip() + "\n"


def against_csv(against: GridDifferences) -> str:
    """Every figure of both grids at full precision; empty where it is unknown."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for change in against.changes:
        row: dict[str, object] = {name: getattr(change.at, name) for name in _AXES}
        row |= {"seeds": " ".join(map(str, change.seeds))}
        row |= {f"{name}_floor": floor for name, floor in (change.floors or {}).items()}
        row |= {"moved": _word(change.moved), "ag_interval": change.interval}
        for name, found in change.figures.items():
            row |= {f"{name}_here": found.here, f"{name}_there": found.there}
            row |= {f"{name}_difference": found.change, f"{name}_moved": _word(found.moved)}
        writer.writerow(row)
    return buffer.getvalue()


def _word(value: bool | None) -> str:
    return "" if value is None else str(value).lower()
