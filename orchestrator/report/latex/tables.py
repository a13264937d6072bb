"""The tables for a paper: LaTeX with booktabs, laid out as its own are: methods below each other, gaps in brackets."""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from core.metrics import FIGURES, METRICS
from orchestrator.report.intervals import Figure, decimals
from orchestrator.report.latex.markup import HOLE, Group, LatexTable, escape, label_of, title_text
from orchestrator.report.markdown import AVERAGE, main_metrics
from orchestrator.report.paper import COMPARED, PrintedRows
from orchestrator.report.sentence import quotable
from orchestrator.report.tables import Line, Table
from orchestrator.spec import GridSpec, titles

if TYPE_CHECKING:
    from jinja2 import Template

_AT = ("Bits", "Forget set", "Method")
_MARKS = {"best": r"\textbf{%s}", "second": r"\underline{%s}", "": "%s"}
_MARKED = " Best AG in bold, second best underlined, where they are told apart."
_NEAR = {None: "", "": "", "best": r"\,$\approx$", "retrain": r"\,$\approx$R"}


def latex_tables(spec: GridSpec, tables: Sequence[Table], more: Iterable[LatexTable] = ()) -> str:
    """One file with a table for each data set, network and kind of forgetting, then those of their further metrics.

    Ours beside the printed figures stand at the end.

    more: tables that stand before them.
    """
    groups: dict[tuple[str, str, str], list[Table]] = {}
    for table in tables:
        groups.setdefault((table.at.dataset, table.at.arch, table.at.scenario), []).append(table)
    found = [*more, *(_comparison(spec, each) for each in groups.values())]
    found += [figures for each in groups.values() for figures in _figure_tables(spec, each)]
    found += [beside for each in groups.values() if (beside := _printed(each))]
    return _template().render(tables=found, recipe=escape(spec.recipe))


@lru_cache
def _template() -> "Template":
    """Templates in which braces are LaTeX's own."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("orchestrator.report"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        block_start_string="<%",
        block_end_string="%>",
        variable_start_string="<<",
        variable_end_string=">>",
        comment_start_string="<#",
        comment_end_string="#>",
        autoescape=False,
    )
    return environment.get_template("report.tex.j2")


def _comparison(spec: GridSpec, tables: Sequence[Table]) -> LatexTable:
    """The methods, grouped by quantization and forget set."""
    groups = tuple(Group(_first(table), tuple(_row(line) for line in table.lines)) for table in tables)
    shown = [escape(METRICS[name].title) for name in (*FIGURES, *_beside_ag())]
    heads = (*_AT, *shown[: len(FIGURES)], AVERAGE, *shown[len(FIGURES) :])
    return LatexTable(
        _caption(spec, tables), _label(tables[0]), "lll" + "r" * (len(heads) - 3), heads, groups
    )


def _beside_ag() -> list[str]:
    """The metrics behind AG; run times are of no use to who has other hardware."""
    return [name for name in main_metrics() if METRICS[name].unit != "s"]


def _figure_tables(spec: GridSpec, tables: Sequence[Table]) -> Iterable[LatexTable]:
    """The metrics that do not stand in the main table: for each of their headings one."""
    for heading in dict.fromkeys(found.title for table in tables for found in table.figure_tables):
        here = [(table, found) for table in tables for found in table.figure_tables if found.title == heading]
        names = list(dict.fromkeys(name for _, found in here for name in found.metrics))
        groups = tuple(
            Group(_first(table), tuple(_further(line, names) for line in found.lines))
            for table, found in here
        )
        heads = (*_AT, *(escape(METRICS[name].heading) for name in names))
        columns = "lll" + "r" * len(names)
        key = " ".join(METRICS[name].about for name in names if METRICS[name].about)
        caption = escape(f"{_problem(tables[0])}: {heading.lower()}; {_over(spec)}. {key}".strip())
        yield LatexTable(caption, _label(tables[0], heading), columns, heads, groups)


def _further(line: Line, names: Iterable[str]) -> tuple[str, ...]:
    return (_name(line), *(_figure(line.figures.get(name), METRICS[name].digits) for name in names))


def _first(table: Table) -> tuple[str, str]:
    return escape(table.at.quant), escape(titles.scenario(table.at.scenario, table.at.amount))


def _row(line: Line) -> tuple[str, ...]:
    figures = (_figure(line.figures.get(name)) for name in FIGURES)
    others = (_figure(line.figures.get(name), METRICS[name].digits) for name in _beside_ag())
    return (_name(line), *figures, _ag(line), *others)


def _name(line: Line) -> str:
    seeds = f" ({line.count}/{line.seeds} seeds)" if 0 < line.count < line.seeds else ""
    return title_text(line.title) + seeds


def _figure(figure: Figure | None, digits: int | None = 2) -> str:
    if figure is None:
        return HOLE
    places = decimals(figure.mean, digits)
    text = f"{figure.mean:.{places}f}"
    if figure.half is not None:
        text += rf" $\pm$ {figure.half:.{places}f}"
    elif figure.low is not None:
        text += f" [{figure.low:.{places}f}, {figure.high:.{places}f}]"
    return text if figure.gap is None else rf"{text}\,({figure.gap:.{places}f})"


def _ag(line: Line) -> str:
    if line.ag is None:
        return HOLE
    if line.role == "reference":
        return "0"
    half = "" if line.ag.half is None else rf" $\pm$ {line.ag.half:.2f}"
    return _MARKS[line.mark] % f"{line.ag.mean:.2f}" + half + _NEAR[line.near]


def _caption(spec: GridSpec, tables: Sequence[Table]) -> str:
    """What a reader must know: the problem, seeds, units, marks and the noise floor of each group."""
    said = (
        f"{_problem(tables[0])}: FA, RA, TA and MIA in percent, the gap to Retrain in brackets; {_over(spec)}."
        f"{_MARKED if any(_any_mark(table) for table in tables) else ''}"
    )
    floors = [f"{_at_words(t)} {t.floor.mean:.2f}" for t in tables if t.floor]
    known = "AG between Retrains of different seed"
    noise = (
        f"Noise floor ({known}): {', '.join(floors)}." if floors else f"The noise floor ({known}) is unknown."
    )
    signs = [line.near for table in tables for line in table.lines]
    near = " ≈: not told apart from the smallest AG." if "best" in signs else ""
    near += " ≈R: within the noise floor." if "retrain" in signs else ""
    told = [f"{_at_words(table)}: {text}" for table in tables if (text := quotable(table))]
    caveats = list(dict.fromkeys(f"{text}." for table in tables for text in table.caveats))
    return escape(" ".join([f"{said} {noise}{near}", *told, *caveats]))


def _any_mark(table: Table) -> bool:
    return any(line.mark for line in table.lines)


def _problem(table: Table) -> str:
    return f"{titles.title(table.at.dataset)}, {titles.title(table.at.arch)}"


def _over(spec: GridSpec) -> str:
    seeds = len(spec.seeds)
    over = (
        f"means and 95 % intervals over {seeds} seeds"
        if seeds > 1
        else "one seed, 95 % intervals by the images"
    )
    return f"{over} (n = {seeds})"


def _at_words(table: Table) -> str:
    return f"{table.at.quant} {titles.scenario(table.at.scenario, table.at.amount)}"


def _label(table: Table, *what: str) -> str:
    return label_of(table.at.dataset, table.at.arch, table.at.scenario, *what)


def _printed(tables: Iterable[Table]) -> LatexTable | None:
    """Ours beside the paper's printed figures; None where nothing is printed."""
    shown = [(table, table.printed) for table in tables if table.printed]
    if not shown:
        return None
    table = shown[0][0]
    numbers = sorted({number for _, beside in shown for number in beside.tables})
    source = f"table{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers))}"
    terms = list(dict.fromkeys(term for _, beside in shown for term in beside.terms))
    notes = list(dict.fromkeys(note for _, beside in shown for note in beside.notes))
    said = f"{titles.title(table.at.dataset)}, {titles.title(table.at.arch)}: ours and the printed figures ({source})."
    caption = escape(" ".join([said, *(f"{term}." for term in terms), *(f"† {note}." for note in notes)]))
    groups = tuple(Group(_first(each), tuple(_printed_rows(beside))) for each, beside in shown)
    heads = ("Bits", "Forget set", "Method", "", *(name.upper() for name in COMPARED))
    return LatexTable(caption, _label(table, "printed"), "llll" + "r" * len(COMPARED), heads, groups)


def _printed_rows(beside: PrintedRows) -> Iterable[tuple[str, ...]]:
    for line in beside.lines:
        ours = (HOLE if p.ours is None else f"{p.ours:.2f}" for p in (line.pairs[name] for name in COMPARED))
        yield (title_text(line.title), "ours", *ours)
        dagger = r"\,$\dagger$" if line.note else ""
        yield ("", "printed" + dagger, *(f"{line.pairs[name].printed:.2f}" for name in COMPARED))
