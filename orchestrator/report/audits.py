"""What audits found, beside their floors: a table for each audited cell, as text, LaTeX and CSV."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from core.metrics.audit import ATTACKS, Reading, Score, all_scores
from orchestrator.plan import Cell, Plan
from orchestrator.report.latex import Group, LatexTable, escape, label_of, title_text
from orchestrator.results import Row
from orchestrator.spec import GridSpec, colour_of, titles

HOLE = "–"
LIKE = "≈R"
KEY = (
    "In brackets: the floor, what Retrain itself gets against as many Retrains. ≈R: within the floor's 95 % bootstrap "
    "interval over models and images, not told apart from Retrain."
)
CSV_COLUMNS = (
    *Cell._fields, "models", "score", "value", "floor", "floor_low", "floor_high", "like_retrain", "key",
)  # fmt: skip


@dataclass(frozen=True)
class AuditLine:
    """One method's audit. readings: by column. models: of either kind. hole: why there is none, else empty.

    left_out: attacks that could not, with the reason.
    """

    cell: Cell
    key: str
    readings: Mapping[str, Reading]
    models: int = 0
    hole: str = ""
    left_out: Mapping[str, str] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """The method's name."""
        return titles.title(self.cell.method)

    @property
    def colour(self) -> str:
        """The method's colour in every picture."""
        return colour_of(self.cell.method)


@dataclass(frozen=True)
class AuditTable:
    """The audits of one problem. scores: those that stand in it, by column."""

    at: Cell
    lines: tuple[AuditLine, ...]
    scores: Mapping[str, Score]

    @property
    def title(self) -> str:
        """`CIFAR-10 · LeNet 4w4a · random 30 % · seed 1`."""
        at = self.at
        return (
            f"{titles.title(at.dataset)} · {titles.title(at.arch)} {at.quant} · "
            f"{titles.scenario(at.scenario, at.amount)} · seed {at.seed}"
        )

    @property
    def about(self) -> str:
        """What the scores mean."""
        return " ".join(score.about for score in self.scores.values() if score.about)


def audit_tables(
    spec: GridSpec, plan: Plan, rows: Mapping[str, Row], left_out: Mapping[str, Mapping[str, str]]
) -> list[AuditTable]:
    """A table for each audited problem of the plan. left_out: by key, what an audit says that it could not."""
    found: dict[Cell, list[AuditLine]] = {}
    for cell, key in plan.audits.items():
        line = replace(_line(cell, key, rows.get(key)), left_out=left_out.get(key, {}))
        found.setdefault(cell.problem, []).append(line)
    scores = all_scores(spec.audit_attacks)
    return [AuditTable(at, tuple(lines), scores) for at, lines in found.items()]


def _line(cell: Cell, key: str, row: Row | None) -> AuditLine:
    if row is None:
        return AuditLine(cell, key, {}, hole="missing")
    if row["status"] != "done":
        return AuditLine(cell, key, {}, hole=f"failed: {row['error_message']}")
    ends = ("", "_floor", "_floor_low", "_floor_high")
    columns = [c for attack in ATTACKS.values() for c in attack.scores if row.get(c) is not None]
    readings = {column: Reading(*(row[column + end] for end in ends)) for column in columns}
    return AuditLine(cell, key, readings, int(row["audit_models"]))


def reading_text(score: Score, reading: Reading | None) -> str:
    """`68.21 (51.40) ≈R`."""
    if reading is None:
        return HOLE
    text = f"{reading.value:.{score.digits}f} ({reading.floor:.{score.digits}f})"
    return f"{text} {LIKE}" if reading.like_retrain else text


def heading(score: Score) -> str:
    """Title and unit."""
    return f"{score.title}, {score.unit}" if score.unit else score.title


def audits_markdown(tables: Sequence[AuditTable]) -> str:
    """The section, scores down and methods across."""
    lines = ["## Audit", "", KEY, ""] if tables else []
    for table in tables:
        names = [line.title for line in table.lines]
        lines += [
            f"### {table.title}",
            "",
            f"| Score | {' | '.join(names)} |",
            f"|---|{'---:|' * len(names)}",
        ]
        for column, score in table.scores.items():
            cells = (reading_text(score, line.readings.get(column)) for line in table.lines)
            lines.append(f"| {heading(score)} | {' | '.join(cells)} |")
        lines += ["", f"{models_text(table)} {table.about}", ""]
    return "\n".join(lines)


def models_text(table: AuditTable) -> str:
    """How many models there were, and whose audit is not there."""
    counts = sorted({line.models for line in table.lines if line.models})
    said = [f"{' or '.join(map(str, counts))} models of each kind."] if counts else []
    why = dict.fromkeys(
        f"{name} left out: {text}." for line in table.lines for name, text in line.left_out.items()
    )
    return " ".join([*said, *(f"{line.title}: {line.hole}." for line in table.lines if line.hole), *why])


def audits_latex(tables: Iterable[AuditTable]) -> list[LatexTable]:
    """The same as tables."""
    return [_latex(table) for table in tables]


def _latex(table: AuditTable) -> LatexTable:
    rows = (
        (
            escape(heading(score)),
            *(escape(reading_text(score, line.readings.get(column))) for line in table.lines),
        )
        for column, score in table.scores.items()
    )
    heads = ("Score", *(title_text(line.title) for line in table.lines))
    caption = escape(f"{table.title}: audit. {KEY} {models_text(table)} {table.about}")
    at = table.at
    label = label_of(at.dataset, at.arch, at.quant, at.scenario, f"{at.amount:g}", f"seed {at.seed}", "audit")
    return LatexTable(caption, label, "l" + "r" * len(table.lines), heads, (Group((), tuple(rows)),))


def audits_csv(tables: Iterable[AuditTable]) -> str:
    """One line for each score of each audit, at full precision."""
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(CSV_COLUMNS)
    for table in tables:
        for line in table.lines:
            for column, found in line.readings.items():
                like = "true" if found.like_retrain else "false"
                numbers = (found.value, found.floor, found.low, found.high)
                lines.writerow([*line.cell, line.models, column, *numbers, like, line.key])
    return text.getvalue()
