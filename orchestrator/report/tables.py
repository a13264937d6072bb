"""The comparison tables as plain values: one for each dataset, network, quantization and forget set."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from core.metrics import MAIN, METRICS
from orchestrator.plan import Cell
from orchestrator.report.gradient_norms import NormTable
from orchestrator.report.intervals import Figure
from orchestrator.report.noise import Floor, Near
from orchestrator.report.paper import PrintedRows
from orchestrator.report.verdict import Verdict

Role = Literal["original", "reference", "method"]
Mark = Literal["", "best", "second"]


@dataclass(frozen=True)
class Line:
    """A method's line. count of seeds have figures; with none, `hole` says why.

    figures: by metric, as they are shown (`Metric.scale`); those that at least one seed has. mark: rank of its AG,
    where it is told apart. near: what its AG is not told apart from; None where that is not known. trainable:
    parameters that trained, in percent, of a method that says so.
    """

    method: str
    title: str
    role: Role
    count: int
    seeds: int
    figures: dict[str, Figure] = field(default_factory=dict)
    ag: Figure | None = None
    trainable: Figure | None = None
    params: str = ""
    hole: str = ""
    mark: Mark = ""
    near: Near | None = None


@dataclass(frozen=True)
class FigureTable:
    """Metrics that stand together beneath the main table, and the lines that have one of them."""

    title: str
    metrics: tuple[str, ...]
    lines: tuple[Line, ...]

    @property
    def headings(self) -> tuple[str, ...]:
        """Title and unit of each metric."""
        return tuple(METRICS[name].heading for name in self.metrics)

    @property
    def key(self) -> str:
        """What the metrics measure."""
        return " ".join(METRICS[name].about for name in self.metrics if METRICS[name].about)


@dataclass(frozen=True)
class Table:
    """One comparison. at: its coordinates, with the first seed. facts: what stands above it, as label and value.

    floor: the noise floor of AG; None where fewer than two Retrains are there. printed: the paper's figures.
    norms: gradient norms by epoch. edges: selected values that sit at an end of their searched range. verdict: who may
    be called best. refused: why its Retrain is no reference. caveats: what else a reader must know of it.
    strict: whether Retrain never saw the forget set, as far as the grid says.
    """

    at: Cell
    title: str
    facts: tuple[tuple[str, str], ...]
    lines: tuple[Line, ...]
    notes: tuple[str, ...]
    floor: Floor | None = None
    printed: PrintedRows | None = None
    norms: NormTable | None = None
    edges: tuple[str, ...] = ()
    verdict: Verdict = field(default_factory=Verdict)
    refused: str = ""
    caveats: tuple[str, ...] = ()
    strict: bool = True

    def line(self, method: str) -> Line:
        """The line of a label."""
        return next(line for line in self.lines if line.method == method)

    @property
    def leader(self) -> Line | None:
        """The method with the smallest AG; None where none is ranked."""
        return self.line(self.verdict.leader) if self.verdict.leader else None

    @property
    def level_with_leader(self) -> list[Line]:
        """The methods that are not told apart from that one."""
        return [self.line(method) for method in self.verdict.level]

    @property
    def not_closer(self) -> list[Line]:
        """The ranked methods that are not shown to do better than the untouched original."""
        return [self.line(method) for method in self.verdict.not_closer]

    @property
    def figure_tables(self) -> list[FigureTable]:
        """The metrics that do not stand in the main table, by the heading of their own; those that have figures."""
        headings = dict.fromkeys(
            metric.table for metric in METRICS.values() if metric.table not in (MAIN, None)
        )
        tables = (_figure_table(str(heading), self.lines) for heading in headings)
        return [table for table in tables if table.metrics]


def _figure_table(heading: str, lines: Iterable[Line]) -> FigureTable:
    names = [name for name, metric in METRICS.items() if metric.table == heading]
    shown = tuple(line for line in lines if any(name in line.figures for name in names))
    return FigureTable(heading, tuple(name for name in names if any(name in n.figures for n in shown)), shown)
