"""What exported networks measure beside the fake-quantized ones: tables, and sentences beneath the comparison's.

Figures that both have alike stand once; a network that decides otherwise than rounding accounts for is flagged.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from core.metrics import FIGURES
from orchestrator.plan import Cell
from orchestrator.results import Entry, Row
from orchestrator.spec import titles
from tasks import DECIDED_ALIKE

ROUNDING = 99.9  # percent of images decided alike, which float rounding between the convolutions accounts for
FLAG = "≠"
KEY = (
    "FA, RA, TA and MIA of the networks as ONNX files, run by onnxruntime; with → where they are not the"
    f" fake-quantized network's. Decided alike: share of all training and test images. {FLAG}: more differ than float"
    f" rounding accounts for ({100 - ROUNDING:.1f} %)."
)
HEADINGS = ("Method", "Seed", *(name.upper() for name in FIGURES), "Decided alike, %")


@dataclass(frozen=True)
class ExportTable:
    """The exported networks of one problem. rows: of the cells, with the columns that the exported ones' rows added."""

    at: Cell
    rows: tuple[Row, ...]

    @property
    def title(self) -> str:
        """`CIFAR-10 · ResNet-18 4w4a · random 10 %`."""
        scenario = titles.scenario(self.at.scenario, self.at.amount)
        return f"{titles.title(self.at.dataset)} · {titles.title(self.at.arch)} {self.at.quant} · {scenario}"

    @property
    def cells(self) -> list[tuple[str, ...]]:
        """The table's text, line by line, under `HEADINGS`."""
        return [
            (titles.title(row["method"]), str(row["seed"]), *(_moved(row, n) for n in FIGURES), _alike(row))
            for row in self.rows
        ]


def export_tables(entries: Iterable[Entry]) -> list[ExportTable]:
    """A table for each problem of which exported networks were measured, seeds within."""
    found: dict[Cell, list[Row]] = {}
    for entry in entries:
        if entry.row and entry.row.get(DECIDED_ALIKE) is not None:
            found.setdefault(entry.cell.problem._replace(seed=0), []).append(entry.row)
    return [ExportTable(at, tuple(rows)) for at, rows in found.items()]


def _moved(row: Row, name: str) -> str:
    before, after = f"{row[name]:.2f}", f"{row[f'{name}_exported']:.2f}"
    return after if before == after else f"{before} → {after}"


def _alike(row: Row) -> str:
    return f"{row[DECIDED_ALIKE]:.2f}" + (f" {FLAG}" if row[DECIDED_ALIKE] < ROUNDING else "")


def exports_markdown(tables: Sequence[ExportTable]) -> str:
    """The section."""
    lines = ["## Exported networks", "", KEY, ""] if tables else []
    for table in tables:
        lines += [
            f"### {table.title}",
            "",
            f"| {' | '.join(HEADINGS)} |",
            f"|---|{'---:|' * (len(HEADINGS) - 1)}",
        ]
        lines += [f"| {' | '.join(cells)} |" for cells in table.cells] + [""]
    return "\n".join(lines)


def export_notes(methods: Mapping[str, Sequence[Entry]]) -> list[str]:
    """How far the exported networks of a table agree, and each that does not, with what it measures instead."""
    rows = [entry.row for entries in methods.values() for entry in entries if entry.row]
    found = [row for row in rows if row.get(DECIDED_ALIKE) is not None]
    if not found:
        return []
    least, apart = min(row[DECIDED_ALIKE] for row in found), max(map(_apart, found))
    networks = "1 exported network, run by onnxruntime, decides"
    if len(found) > 1:
        networks = f"{len(found)} exported networks, run by onnxruntime, decide"
    agreement = f"{networks} at least {least:.2f} % of all images as before the export"
    moved = f"FA, RA, TA and MIA move by at most {apart:.2f} points"
    return [f"{agreement}; {moved}", *(_defect(row) for row in found if row[DECIDED_ALIKE] < ROUNDING)]


def _apart(row: Row) -> float:
    return max(abs(row[f"{name}_exported"] - row[name]) for name in FIGURES)


def _defect(row: Row) -> str:
    figures = ", ".join(f"{name.upper()} {row[name]:.2f} → {row[f'{name}_exported']:.2f}" for name in FIGURES)
    return (
        f"{FLAG} {titles.title(row['method'])}, seed {row['seed']}: its exported network decides only"
        f" {row[DECIDED_ALIKE]:.2f} % as it did, more than rounding accounts for: {figures}"
    )
