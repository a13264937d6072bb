"""The layouts of the documents as text: Markdown, LaTeX and CSV. (On the page: templates/layouts.html.j2.)"""

from collections.abc import Iterable, Sequence

from orchestrator.report.csv_files import csv_text
from orchestrator.report.intervals import decimals
from orchestrator.report.latex import HOLE as LATEX_HOLE, Group, LatexTable, escape, label_of, title_text
from orchestrator.report.layouts.pivot_tables import Column, Pivot, PivotRow, Value
from orchestrator.report.markdown import HOLE, markdown_grid, markdown_text

COLUMNS = ("layout", "figure", "method", "problem", "mean", "half", "n", "best", "reason")
WIDEST = 8  # problems across that a printed page can be read with
_BETTER = {
    "higher": "higher is better",
    "lower": "lower is better",
    "nearest": "the nearest to Retrain is best",
    "neither": "no direction is better",
}
_RANKED = (
    "among the methods with the most seeds, where several seeds tell it apart from all others; Retrain and originals"
    " are not ranked"
)


def section_title(pivots: Sequence[Pivot]) -> str:
    """What stands above them: whether another paper prints them so."""
    sourced = any(pivot.layout.source for pivot in pivots)
    return "In the layout of the paper" if sourced else "Methods down, problems across"


def key_text(pivots: Sequence[Pivot]) -> str:
    """Where they are printed, what all problems share, and what figures and marks mean, once for all."""
    said = [_one_source(pivots), pivots[0].common]
    place = "".join(f"{words}. " for words in said if words)
    seeds = max(pivot.seeds for pivot in pivots)
    return f"{place}{_over(seeds)}{_bold(seeds)} The noise floor and the notes at a problem's own table hold here too."


def _one_source(pivots: Sequence[Pivot]) -> str:
    """The source of all of them; nothing where each has its own."""
    sources = {pivot.layout.source for pivot in pivots}
    return sources.pop() if len(sources) == 1 else ""


def _bold(seeds: int) -> str:
    return f" Bold: the best of its column {_RANKED}." if seeds > 1 else ""


def _over(seeds: int) -> str:
    if seeds == 1:
        return "One seed (n = 1): ± is what the number of images leaves open, and nothing is marked as best."
    return f"Mean ± 95 % interval over {seeds} seeds; where some are missing, n stands beside the figure."


def heading(pivot: Pivot) -> str:
    """Figure and unit."""
    return f"{pivot.layout.title}, {pivot.layout.unit}"


def about(pivot: Pivot, pivots: Sequence[Pivot]) -> str:
    """What `key_text` does not say: its own source, which direction is better and what cannot be there."""
    source = "" if _one_source(pivots) else pivot.layout.source
    text = "; ".join(filter(None, (source, _rest(pivot))))
    return text[0].upper() + text[1:]


def _rest(pivot: Pivot) -> str:
    left_out = f"; left out: {', '.join(pivot.left_out)}" if pivot.left_out else ""
    return _BETTER[pivot.layout.better] + left_out


def number(value: float, mean: float, places: int | None) -> str:
    """A mean, or its interval, with as many decimals as the mean has."""
    return f"{value:,.{decimals(mean, places)}f}"


def mean_text(value: Value, pivot: Pivot) -> str:
    """The mean; without one the first word of the reason, or a dash."""
    if value.figure is None:
        return value.status or HOLE
    return number(value.figure.mean, value.figure.mean, pivot.places)


def half_text(value: Value, pivot: Pivot) -> str:
    """Half the interval; nothing for one seed."""
    if value.figure is None or value.figure.half is None:
        return ""
    return number(value.figure.half, value.figure.mean, pivot.places)


def layouts_markdown(pivots: Sequence[Pivot]) -> str:
    """All of them as GitHub Markdown; nothing for none."""
    if not pivots:
        return ""
    parts = [f"## {section_title(pivots)}", key_text(pivots)]
    for pivot in pivots:
        head = ("Method", *(markdown_text(" · ".join(column.parts)) for column in pivot.columns))
        grid = markdown_grid(head, "l" + "r" * len(pivot.columns), (_cells(row, pivot) for row in pivot.rows))
        parts += [
            f"### {markdown_text(heading(pivot))}",
            markdown_text(about(pivot, pivots)),
            "\n".join(grid),
        ]
    return "\n\n".join(parts) + "\n"


def _cells(row: PivotRow, pivot: Pivot) -> list[str]:
    name = markdown_text(row.title)
    return [f"*{name}*" if row.role == "original" else name, *(_cell(value, pivot) for value in row.values)]


def _cell(value: Value, pivot: Pivot) -> str:
    mean, half = mean_text(value, pivot), half_text(value, pivot)
    text = (f"**{mean}**" if value.best else mean) + (f" ± {half}" if half else "")
    return f"{text} (n = {value.figure.count})" if value.figure and value.partial else text


def layouts_latex(recipe: str, pivots: Iterable[Pivot]) -> list[LatexTable]:
    """A table for each; one with more problems than a page has room for, in parts."""
    return [
        _latex(recipe, pivot, first, range(first, min(first + WIDEST, len(pivot.columns))))
        for pivot in pivots
        for first in range(0, len(pivot.columns), WIDEST)
    ]


def _latex(recipe: str, pivot: Pivot, first: int, shown: range) -> LatexTable:
    columns = [pivot.columns[number] for number in shown]
    heads = ("Method", *(_head(column) for column in columns))
    part = f"-{first // WIDEST + 1}" if len(pivot.columns) > WIDEST else ""
    caption = escape(_caption(pivot, columns))
    above = [row for row in pivot.rows if row.role != "method" and ":" not in row.method]
    groups = (above, [row for row in pivot.rows if row not in above])
    return LatexTable(
        caption,
        label_of("layout", recipe, pivot.layout.figure + part),
        "l" + "r" * len(columns),
        heads,
        tuple(Group((), tuple(_latex_row(row, pivot, shown) for row in rows)) for rows in groups if rows),
    )


def _head(column: Column) -> str:
    return escape(" ".join(column.parts))


def _caption(pivot: Pivot, columns: Sequence[Column]) -> str:
    """Title, source, what the columns share, n, interval and what is bold."""
    part = f" ({columns[0].number} to {columns[-1].number})" if len(columns) < len(pivot.columns) else ""
    said = "; ".join(filter(None, (pivot.layout.source, pivot.common, _rest(pivot))))
    seeds = pivot.seeds
    over = f"Means and 95 % intervals over {seeds} seeds" if seeds > 1 else "One seed"
    missing = ", another n beside its figure" if seeds > 1 else ""
    bold = "" if pivot.layout.better == "neither" else _bold(seeds)
    return f"{heading(pivot)}{part}: {said}. {over} (n = {seeds}{missing}).{bold}"


def _latex_row(row: PivotRow, pivot: Pivot, shown: range) -> tuple[str, ...]:
    name = rf"\emph{{{title_text(row.title)}}}" if row.role == "original" else title_text(row.title)
    return (name, *(_latex_cell(row.values[number], pivot) for number in shown))


def _latex_cell(value: Value, pivot: Pivot) -> str:
    if value.figure is None:
        return LATEX_HOLE
    mean, half = mean_text(value, pivot), half_text(value, pivot)
    text = (rf"\textbf{{{mean}}}" if value.best else mean) + (rf" $\pm$ {half}" if half else "")
    return rf"{text}\,($n = {value.figure.count}$)" if value.partial else text


def layouts_csv(pivots: Iterable[Pivot]) -> str:
    """One line for each method and problem of each layout, at full precision; reason: why there is no figure."""
    return csv_text(COLUMNS, (_line(*found) for found in _values(pivots)))


def _values(pivots: Iterable[Pivot]) -> Iterable[tuple[Pivot, PivotRow, Column, Value]]:
    for pivot in pivots:
        for row in pivot.rows:
            for column, value in zip(pivot.columns, row.values, strict=True):
                yield pivot, row, column, value


def _line(pivot: Pivot, row: PivotRow, column: Column, value: Value) -> dict[str, object]:
    where = {
        "layout": pivot.layout.title,
        "figure": pivot.layout.figure,
        "method": row.method,
        "problem": column.problem,
        "n": value.figure.count if value.figure else 0,
        "best": "true" if value.best else "false",
        "reason": value.hole,
    }
    return where | ({"mean": value.figure.mean, "half": value.figure.half} if value.figure else {})
