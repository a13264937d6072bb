"""Tables on a terminal, in as much detail as its width holds."""

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

from core.metrics import FIGURES
from orchestrator.report import markdown
from orchestrator.report.markdown import DOUBTFUL, NEAR
from orchestrator.report.paper import COMPARED, PrintedRows
from orchestrator.report.sentence import quotable
from orchestrator.report.tables import Line, Table

if TYPE_CHECKING:
    from rich.console import Console
    from rich.padding import Padding
    from rich.table import Table as RichTable
    from rich.text import Text

SIGNS = {"best": "*", "second": "+", "": ""}
NAME_WIDTH, PARAMS_WIDTH = 12, 26  # the least that a long name and hyper-parameters are folded to


class Detail(NamedTuple):
    """Decimals of the figures, what is shown beside them, and whether columns stand a single space apart."""

    places: int
    intervals: bool = False
    ag_interval: bool = False
    params: bool = False
    tight: bool = False


_LEAST = (Detail(1), Detail(1, tight=True))
_DETAILS = (  # from the most to the least
    Detail(2, intervals=True, ag_interval=True, params=True),
    Detail(2, intervals=True, ag_interval=True),
    Detail(2, ag_interval=True, params=True),
    Detail(2, ag_interval=True),
    Detail(1, ag_interval=True),
    *_LEAST,
)
_DETAILS_OF_SEVERAL = (
    Detail(1, intervals=True, ag_interval=True, params=True),
    Detail(1, intervals=True, ag_interval=True),
    Detail(1, ag_interval=True),
    *_LEAST,
)


def print_tables(console: "Console", tables: Sequence[Table]) -> None:
    """The tables, each with its noise floor and, where something is printed, the paper's figures."""
    plain = console.color_system is None
    for table in tables:
        console.print()
        console.print(_text(table.title, "bold"))
        for said in filter(None, (quotable(table), *table.caveats)):
            console.print(_text(said, "yellow" if table.refused or said in table.caveats else ""))
        for fact in ("Noise floor", "Search"):
            console.print(_text(f"{fact}: {dict(table.facts)[fact]}", "dim"))
        console.print(_widest(console, (_grid(table, detail, plain) for detail in _details(table))))
        for note in (*_grouped_holes(table), *table.notes):
            console.print(_note(note))
        if table.printed:
            _print_beside(console, table.printed)
    if tables:
        marked = any(line.mark for table in tables for line in table.lines)
        signs = "* best, + second best AG. " if plain and marked else ""
        console.print()
        console.print(_text(signs + markdown.key_text(tables), "dim"))


def _text(text: str, style: str) -> "Text":
    from rich.text import Text

    return Text(text, style=style)


def _note(text: str) -> "Padding":
    from rich.padding import Padding

    return Padding(_text(text, "dim"), (0, 0, 0, 2))


def _details(table: Table) -> Sequence[Detail]:
    return _DETAILS_OF_SEVERAL if any(line.seeds > 1 for line in table.lines) else _DETAILS


def _widest(console: "Console", grids: Iterable["RichTable"]) -> "RichTable":
    """The first that fits, and none after it is made; the last if none does."""
    unbounded = console.options.update(max_width=1000)  # a measurement is clipped to the width it is given
    for grid in grids:
        if console.measure(grid, options=unbounded).minimum <= console.width:
            break
    return grid


def _empty(
    names: Iterable[str], headings: Sequence[str], figures: Sequence[Sequence["Text"]], tight: bool
) -> "RichTable":
    """A table without rows: a column for names, which folds, and one for each figure, as wide as its longest."""
    from rich import box
    from rich.table import Table as RichTable

    grid = RichTable(box=box.SIMPLE_HEAD, padding=(0, 0 if tight else 1, 0, 0), show_edge=False)
    grid.add_column("Method", min_width=min(NAME_WIDTH, max(map(len, names))), overflow="fold")
    for heading, cells in zip(headings, zip(*figures, strict=True), strict=True):
        longest = max(map(len, (heading, *cells)))
        grid.add_column(heading, justify="right", no_wrap=True, min_width=longest)
    return grid


def _grid(table: Table, detail: Detail, plain: bool) -> "RichTable":
    from rich.text import Text

    names = [line.title + _seeds(line) for line in table.lines]
    figures = _figures(table, detail, plain)
    *headings, parameters = markdown.headings()
    grid = _empty(names, headings, figures, detail.tight)
    if detail.params:
        grid.add_column(parameters, min_width=PARAMS_WIDTH, overflow="fold")
    for line, name, cells in zip(table.lines, names, figures, strict=True):
        style = {"original": "dim", "reference": "bold", "method": ""}[line.role]
        params = [Text(line.params)] if detail.params else []
        grid.add_row(Text(name), *cells, *params, style=style, end_section=line.role == "reference")
    return grid


def _figures(table: Table, detail: Detail, plain: bool) -> list[list["Text"]]:
    """The cells of every line up to hyper-parameters; AG with its signs, padded so that figures stay aligned."""
    from rich.text import Text

    signs = [(SIGNS[line.mark] if plain else "") + NEAR[line.near] for line in table.lines]
    longest = max(map(len, signs))
    return [
        [
            *(
                Text(markdown.figure_text(line.figures.get(name), detail.places, detail.intervals))
                for name in FIGURES
            ),
            _ranked(line, detail, sign.ljust(longest)),
            *(Text(markdown.metric_text(line, name, detail.intervals)) for name in markdown.main_metrics()),
        ]
        for line, sign in zip(table.lines, signs, strict=True)
    ]


def _seeds(line: Line) -> str:
    return f" {line.count}/{line.seeds}" if 0 < line.count < line.seeds else ""


def _ranked(line: Line, detail: Detail, sign: str) -> "Text":
    """AG in bold or underlined; where neither can be seen, as in a log file, with a sign."""
    text = markdown.ag_text(line, detail.ag_interval)
    if not detail.intervals:
        text = text.replace(" ", "")
    return _text(text + sign, {"best": "bold", "second": "underline", "": ""}[line.mark])


def _print_beside(console: "Console", beside: PrintedRows) -> None:
    """The published figures and ours less these; ours themselves, which stand above, where the width holds them."""
    full = _beside_grid(beside, 2, ours=True)
    shorter = (_beside_grid(beside, *shape) for shape in ((2, False), (1, False), (1, False, True)))
    grid = _widest(console, chain([full], shorter))
    what = "" if grid is full else ": as printed, and ours less printed"
    console.print(_text(f"\nBeside the published figures ({beside.source}){what}", "bold"))
    for term in beside.terms:
        console.print(_text(term, "dim"))
    console.print(grid)
    for note in beside.notes:
        console.print(_note(f"{DOUBTFUL} {note}"))


def _beside_grid(beside: PrintedRows, places: int, ours: bool, tight: bool = False) -> "RichTable":
    from rich.text import Text

    headings = [
        heading
        for name in COMPARED
        for heading in ([f"{name.upper()} ours", "printed"] if ours else [name.upper()]) + ["diff."]
    ]
    figures = [
        [
            Text(text)
            for name in COMPARED
            for text in markdown.pair_texts(line, name, places)[0 if ours else 1 :]
        ]
        for line in beside.lines
    ]
    grid = _empty([line.title for line in beside.lines], headings, figures, tight)
    for line, cells in zip(beside.lines, figures, strict=True):
        grid.add_row(Text(line.title + (f" {DOUBTFUL}" if line.note else "")), *cells)
    return grid


def _grouped_holes(table: Table) -> list[str]:
    """Each reason once, with the methods it keeps empty."""
    reasons: dict[str, list[str]] = {}
    for line in table.lines:
        if line.hole:
            reasons.setdefault(line.hole, []).append(line.title)
    return [f"{', '.join(names)}: {reason}" for reason, names in reasons.items()]
