"""Tables as text: Markdown, CSV and the terminal. (The page is templates/report.html.j2.)"""

import csv
import io
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from core.metrics.gap import FIGURES
from orchestrator import words
from orchestrator.entries import Entry
from orchestrator.tables import Figure, Line, Table

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table as RichTable
    from rich.text import Text

HEADINGS = ("FA", "RA", "TA", "MIA", "AG", "RTE", "Hyper-parameters")
HOLE = "–"
WIDE, WIDEST = 110, 150  # columns from which the terminal shows everything, for one seed and for several
SIGNS = {"best": "*", "second": "+", "": ""}
KEY = (
    "FA, RA, TA: accuracy on forgotten, retained and test images; MIA: share of forgotten images the attack takes"
    " for never seen; all in percent. In brackets: the gap to Retrain. AG: average of the four gaps, smaller is"
    " better. RTE: run time of unlearning."
)

_ROW = (
    "va", "mia_validation", "ag_validation", "seconds", "flip_rate", "forget_count", "retain_count", "test_count",
    "tried", "params", "protocol", "select_on", "model", "selected", "reference", "code_revision", "hardware",
)  # fmt: skip
COLUMNS = (
    "dataset", "arch", "quant", "scenario", "amount", "seed", "method", "status", "reason", *FIGURES,
    *(f"{name}_gap" for name in FIGURES), "ag", "trials", "failed_trials", "key", *_ROW,
)  # fmt: skip


def figure_text(figure: Figure | None, places: int = 2, interval: bool = True) -> str:
    """`93.38 (6.04)`, or `93.38 ± 0.41 (6.04)` over several seeds."""
    if figure is None:
        return HOLE
    text = f"{figure.mean:.{places}f}"
    if interval and figure.half is not None:
        text += f" ± {figure.half:.{places}f}"
    return text if figure.gap is None else f"{text} ({figure.gap:.{places}f})"


def ag_text(line: Line) -> str:
    """Average gap; a plain 0 for Retrain, as in the paper."""
    return "0" if line.role == "reference" and line.count else figure_text(line.ag)


def time_text(line: Line) -> str:
    """Seconds of unlearning; nothing for the original, which is not unlearned."""
    if line.role == "original" and line.count:
        return ""
    return HOLE if line.seconds is None else words.duration(line.seconds)


def name_text(line: Line) -> str:
    """The method's title, with the number of seeds where some are missing."""
    return line.title + (f" ({line.count} of {line.seeds} seeds)" if 0 < line.count < line.seeds else "")


def markdown_table(table: Table) -> str:
    """One table with its heading, facts and notes, as GitHub Markdown."""
    lines = [f"### {_escape(table.title)}", ""]
    lines += [f"- {label}: {_escape(value)}" for label, value in table.facts]
    lines += ["", f"| Method | {' | '.join(HEADINGS)} |", "|:--" + "|--:" * 6 + "|:--|"]
    lines += [f"| {' | '.join(_markdown_cells(line))} |" for line in table.lines]
    lines += ["", *(f"- {_escape(note)}" for note in table.notes)]
    return "\n".join(lines).rstrip() + "\n"


def _markdown_cells(line: Line) -> list[str]:
    ag = {"best": "**{}**", "second": "<u>{}</u>", "": "{}"}[line.mark].format(ag_text(line))
    name = _escape(name_text(line))
    figures = [figure_text(line.figures.get(figure)) for figure in FIGURES]
    return [
        f"*{name}*" if line.role == "original" else name,
        *figures,
        ag,
        time_text(line),
        _escape(line.hole or line.params),
    ]


def _escape(text: str) -> str:
    """Text inside a Markdown table cell: nothing in it is markup."""
    for plain, safe in (("\\", "\\\\"), ("|", "\\|"), ("<", "&lt;"), ("*", "\\*"), ("`", "\\`"), ("\n", " ")):
        text = text.replace(plain, safe)
    return text


def csv_text(entries: Iterable[Entry]) -> str:
    """One line for each method, problem and seed, at full precision."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(_csv_row(entry) for entry in entries)
    return buffer.getvalue()


def _csv_row(entry: Entry) -> dict[str, object]:
    row = entry.row or {}
    return {
        **entry.cell._asdict(),
        "status": entry.status,
        "reason": entry.hole,
        **{name: row.get(name) for name in (*FIGURES, *_ROW)},
        **{f"{name}_gap": entry.gap(name) for name in FIGURES},
        "ag": entry.ag,
        "trials": entry.trials or None,
        "failed_trials": entry.failed_trials if entry.row and entry.trials else None,
        "key": entry.key,
    }


def print_tables(console: "Console", tables: Sequence[Table]) -> None:
    """The tables on a terminal; a narrow one gets one decimal less and no hyper-parameters."""
    from rich.text import Text

    plain = console.color_system is None
    for table in tables:
        console.print()
        console.print(Text(table.title, style="bold"))
        console.print(_rich_table(table, console.width, plain))
        for note in (*_grouped_holes(table), *table.notes):
            console.print(Text(f"  {note}", style="dim"))
    if tables:
        signs = "* best, + second best AG. " if plain else ""
        console.print(Text(signs + KEY, style="dim"))


def _rich_table(table: Table, width: int, plain: bool) -> "RichTable":
    from rich import box
    from rich.table import Table as RichTable
    from rich.text import Text

    several = any(line.seeds > 1 for line in table.lines)
    wide, wordy = width >= WIDE, width >= (WIDEST if several else WIDE)
    grid = RichTable(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    grid.add_column("Method", no_wrap=True)
    for heading in HEADINGS[:-1]:
        grid.add_column(heading, justify="right", no_wrap=True)
    if wordy:
        grid.add_column(HEADINGS[-1], overflow="fold")
    for line in table.lines:
        style = {"original": "dim", "reference": "bold", "method": ""}[line.role]
        cells = [Text(line.title + _seeds(line)), *(Text(text) for text in _figures(line, wide, several))]
        cells += [_ranked(line, wide, plain), Text(time_text(line))]
        cells += [Text(line.params)] if wordy else []
        grid.add_row(*cells, style=style, end_section=line.role == "reference")
    return grid


def _seeds(line: Line) -> str:
    return f" {line.count}/{line.seeds}" if 0 < line.count < line.seeds else ""


def _figures(line: Line, wide: bool, several: bool) -> list[str]:
    places = 2 if wide and not several else 1
    return [figure_text(line.figures.get(name), places, interval=wide) for name in FIGURES]


def _ranked(line: Line, wide: bool, plain: bool) -> "Text":
    """AG in bold or underlined; where neither can be seen, as in a log file, with a sign."""
    from rich.text import Text

    sign = (SIGNS[line.mark] or " ") if plain else ""
    text = ag_text(line) if wide else ag_text(line).replace(" ", "")
    return Text(text + sign, style={"best": "bold", "second": "underline", "": ""}[line.mark])


def _grouped_holes(table: Table) -> list[str]:
    """Each reason once, with the methods it keeps empty."""
    reasons: dict[str, list[str]] = {}
    for line in table.lines:
        if line.hole:
            reasons.setdefault(line.hole, []).append(line.title)
    return [f"{', '.join(names)}: {reason}" for reason, names in reasons.items()]
