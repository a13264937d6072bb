"""Tables as text: what a cell says, and whole tables as Markdown. (The page is templates/report.html.j2.)"""

from collections.abc import Iterable, Sequence

from core.metrics import FIGURES, MAIN, METRICS
from orchestrator.report.gradient_norms import NormTable
from orchestrator.report.intervals import Figure, decimals
from orchestrator.report.paper import COMPARED, PrintedMethod, PrintedRows
from orchestrator.report.sentence import quotable
from orchestrator.report.tables import FigureTable, Line, Table
from orchestrator.spec import titles

AVERAGE, PARAMETERS = "AG", "Hyper-parameters"
HOLE = "–"
NEAR = {None: "", "": "", "best": "≈", "retrain": "≈R"}
DOUBTFUL = "†"
EXPLAINED = {
    "FA": "forget accuracy: right answers on the forgotten images, in percent",
    "RA": "retain accuracy: right answers on the training images that are kept, in percent",
    "TA": "test accuracy: right answers on test images, without a forgotten class, in percent",
    "MIA": "membership inference attack: share of forgotten images that it takes for never seen, in percent",
    "AG": "average gap: mean distance of FA, RA, TA and MIA to Retrain's, in percentage points; smaller is better",
    "RTE": "run time of unlearning, training alone",
}
KEY = (
    "FA, RA, TA: accuracy on forgotten, retained and test images; MIA: share of forgotten images the attack takes"
    " for never seen; all in percent. In brackets: the gap to Retrain. AG: average of the four gaps, smaller is"
    " better; the untouched original's is what doing nothing comes to. RTE: run time of unlearning. ±: 95 % interval,"
    " of what the number of images leaves open (binomial, Wilson; of gaps both models' arms, of AG those of FA and MIA"
    " added and joined with the others square and add) and, over several seeds, of their spread (Student's t), the two"
    " joined square and add."
)
NEAR_KEY = (
    "≈: not told apart from the smallest AG: their difference, seed by seed, is within its own 95 % interval or the"
    " noise floor. ≈R: the AG itself is within the noise floor, as far as two Retrains lie apart."
)
MARKS_KEY = (
    "AG is marked as best (and second best) only over several seeds, where it is told apart from every other method"
    " (behind it) and from the untouched original."
)
NORMS_KEY = (
    "Norm of the gradient on the forget set over that on the retain set, before each epoch, in the selected trials;"
    " w_forget and w_retain: the weights of the two sets."
)


def main_metrics() -> list[str]:
    """The metrics of the main table that stand behind AG; those that it is the average of stand before it."""
    return [name for name, metric in METRICS.items() if metric.table == MAIN and name not in FIGURES]


def headings() -> list[str]:
    """The main table's, without the method."""
    figures, others = ([METRICS[name].title for name in names] for names in (FIGURES, main_metrics()))
    return [*figures, AVERAGE, *others, PARAMETERS]


def key_text(tables: Iterable[Table]) -> str:
    """What the columns mean, and the signs that are there."""
    lines = [line for table in tables for line in table.lines]
    more = [METRICS[name].about for name in main_metrics()]
    near = [NEAR_KEY] if any(line.near for line in lines) else []
    return " ".join(filter(None, [KEY, *more, *near, MARKS_KEY]))


def figure_text(figure: Figure | None, places: int | None = 2, interval: bool = True) -> str:
    """`93.38 (6.04)`, `93.38 ± 0.41 (6.04)` over several seeds, or `93.38 [92.9, 93.8]` where images allow an interval.

    places: decimals; None: as many as make three significant digits.
    """
    if figure is None:
        return HOLE
    places = decimals(figure.mean, places)
    text = f"{figure.mean:.{places}f}"
    if interval and figure.half is not None:
        text += f" ± {figure.half:.{places}f}"
    elif interval and figure.low is not None:
        text += f" [{figure.low:.{places}f}, {figure.high:.{places}f}]"
    return text if figure.gap is None else f"{text} ({figure.gap:.{places}f})"


def ag_text(line: Line, interval: bool = True) -> str:
    """Average gap; a plain 0 for Retrain, as in the paper."""
    return "0" if line.role == "reference" and line.ag else figure_text(line.ag, interval=interval)


def metric_text(line: Line, name: str, interval: bool = True) -> str:
    """A line's figure of a metric; seconds as a duration, and nothing where a figure cannot be."""
    metric, found = METRICS[name], line.figures.get(name)
    if line.role == "original" and line.count and metric.reads == "training":
        return ""  # it was not unlearned
    if found is not None and metric.unit == "s":
        return titles.duration(found.mean)
    return figure_text(found, metric.digits, interval)


def name_text(line: Line) -> str:
    """The method's title, with the number of seeds where some are missing."""
    return line.title + (f" ({line.count} of {line.seeds} seeds)" if 0 < line.count < line.seeds else "")


def points(value: float | None, signed: bool = False, places: int = 2) -> str:
    """`97.11`, or `+0.36` for a difference; nothing for a figure that is not there."""
    if value is None:
        return ""
    text = f"{value:+.{places}f}" if signed else f"{value:.{places}f}"
    return text.replace("-", "−")


def pair_texts(line: PrintedMethod, name: str, places: int = 2) -> tuple[str, str, str]:
    """One figure: ours, printed (with a sign where the printed row contradicts itself) and the difference."""
    pair = line.pairs[name]
    ours = HOLE if pair.ours is None else points(pair.ours, places=places)
    printed = points(pair.printed, places=places) + (DOUBTFUL if pair.doubtful else "")
    return ours, printed, points(pair.difference, signed=True, places=places)


def ratio_text(value: float | None) -> str:
    """Three significant digits of a number that is not negative, however large or small."""
    if value is None:
        return HOLE
    if value >= 100 or value == 0:
        return f"{value:,.0f}"
    return f"{value:#.3g}" if value >= 1e-4 else f"{value:.1e}"


def markdown_table(table: Table) -> str:
    """One table with its heading, facts, notes and what belongs beside it, as GitHub Markdown."""
    parts = [
        [f"### {markdown_text(table.title)}"],
        *([f"> {markdown_text(said)}"] for said in (quotable(table), *table.caveats) if said),
        [f"- {label}: {markdown_text(value)}" for label, value in table.facts],
        markdown_grid(
            ("Method", *headings()),
            "l" + "r" * (len(headings()) - 1) + "l",
            [_cells(line) for line in table.lines],
        ),
        [f"- {markdown_text(note)}" for note in (*table.notes, *table.edges)],
    ]
    if table.printed:
        parts += _beside(table.printed)
    for figures in table.figure_tables:
        parts += _figures(figures)
    if table.norms:
        parts += _norms(table.norms)
    return "\n\n".join("\n".join(part) for part in parts if part) + "\n"


def markdown_grid(head: Sequence[str], align: str, rows: Iterable[Sequence[str]]) -> list[str]:
    """The lines of a table of cells that are Markdown already. align: l or r for each column."""
    rules = {"l": ":--", "r": "--:"}
    body = [f"| {' | '.join(cells)} |" for cells in rows]
    return [f"| {' | '.join(head)} |", f"|{'|'.join(rules[side] for side in align)}|", *body]


def _cells(line: Line) -> list[str]:
    ag = {"best": "**{}**", "second": "<u>{}</u>", "": "{}"}[line.mark].format(ag_text(line))
    name = markdown_text(name_text(line))
    return [
        f"*{name}*" if line.role == "original" else name,
        *(figure_text(line.figures.get(figure)) for figure in FIGURES),
        f"{ag} {NEAR[line.near]}".rstrip(),
        *(metric_text(line, name) for name in main_metrics()),
        markdown_text(line.hole or line.params),
    ]


def _beside(beside: PrintedRows) -> list[list[str]]:
    head = ("Method", *(f"{name.upper()} ours / printed / difference" for name in COMPARED))
    rows = [
        [
            markdown_text(line.title),
            *(" / ".join(pair_texts(line, name)).removesuffix(" / ") for name in COMPARED),
        ]
        for line in beside.lines
    ]
    return [
        [f"#### Beside the published figures: {beside.source}"],
        [f"- {markdown_text(term)}" for term in beside.terms],
        markdown_grid(head, "l" + "r" * len(COMPARED), rows),
        [f"- {DOUBTFUL} {markdown_text(note)}" for note in beside.notes],
    ]


def _figures(table: FigureTable) -> list[list[str]]:
    rows = [
        [markdown_text(line.title), *(metric_text(line, name) for name in table.metrics)]
        for line in table.lines
    ]
    grid = markdown_grid(("Method", *table.headings), "l" + "r" * len(table.metrics), rows)
    return [[f"#### {table.title}"], *([[table.key]] if table.key else []), grid]


def _norms(norms: NormTable) -> list[list[str]]:
    rows = [
        [
            markdown_text(line.title),
            line.what,
            *(ratio_text(line.values.get(epoch)) for epoch in norms.epochs),
        ]
        for line in norms.lines
    ]
    head = ("Method", "Epoch", *map(str, norms.epochs))
    grid = markdown_grid(head, "ll" + "r" * len(norms.epochs), rows)
    return [["#### Gradient norms, forget / retain, per epoch"], [NORMS_KEY], grid]


def markdown_text(text: str) -> str:
    """Text inside a Markdown table cell: nothing in it is markup."""
    for plain, safe in (("\\", "\\\\"), ("|", "\\|"), ("<", "&lt;"), ("*", "\\*"), ("`", "\\`"), ("\n", " ")):
        text = text.replace(plain, safe)
    return text
