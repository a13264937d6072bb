"""The comparison tables as plain values: one for each dataset, network, quantization and forget set."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean, stdev
from typing import Any, Literal

from core.metrics.gap import FIGURES
from orchestrator import words
from orchestrator.entries import Entry, collect
from orchestrator.plan import Cell, Plan
from orchestrator.spec import GridSpec

Role = Literal["original", "reference", "method"]
Mark = Literal["", "best", "second"]
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Figure:
    """A mean over seeds, half its 95 % interval (None for one seed) and its gap to Retrain's mean."""

    mean: float
    half: float | None = None
    gap: float | None = None


@dataclass(frozen=True)
class Line:
    """A method's line. count of seeds have figures; with none, `hole` says why. mark: rank of its AG."""

    method: str
    title: str
    role: Role
    count: int
    seeds: int
    figures: dict[str, Figure] = field(default_factory=dict)
    ag: Figure | None = None
    seconds: float | None = None
    params: str = ""
    hole: str = ""
    mark: Mark = ""


@dataclass(frozen=True)
class Table:
    """One comparison. at: its coordinates, with the first seed. facts: what stands above it, as label and value."""

    at: Cell
    title: str
    facts: tuple[tuple[str, str], ...]
    lines: tuple[Line, ...]
    notes: tuple[str, ...]

    @property
    def ranked(self) -> list[Line]:
        """The marked methods, best first."""
        return sorted((line for line in self.lines if line.mark), key=lambda line: (line.mark, line.method))


def build_tables(spec: GridSpec, plan: Plan, rows: Iterable[dict[str, Any]]) -> list[Table]:
    """The tables of a grid, in the plan's order, seeds within; a hole stays a hole."""
    return tables_of(spec, collect(plan, rows))


def tables_of(spec: GridSpec, entries: Iterable[Entry]) -> list[Table]:
    """The tables of a grid's entries."""
    groups: dict[Cell, dict[str, list[Entry]]] = {}
    for entry in entries:
        at = entry.cell._replace(seed=spec.seeds[0], method="retrain")
        groups.setdefault(at, {}).setdefault(entry.cell.method, []).append(entry)
    return [_table(spec, at, methods) for at, methods in groups.items()]


def _table(spec: GridSpec, at: Cell, methods: dict[str, list[Entry]]) -> Table:
    lines = _marked([_line(name, entries) for name, entries in methods.items()])
    everything = [entry for entries in methods.values() for entry in entries]
    scenario = words.scenario(at.scenario, at.amount)
    title = f"{words.title(at.dataset)} · {words.title(at.arch)} · {at.quant} · {scenario}"
    return Table(at, title, _facts(spec, at, everything), tuple(lines), tuple(_notes(lines, everything)))


def _line(method: str, entries: list[Entry]) -> Line:
    role: Role = "original" if method == words.ORIGINAL else "reference" if method == "retrain" else "method"
    empty = Line(method, words.title(method), role, 0, len(entries), hole=_hole(entries))
    done = [entry for entry in entries if entry.row]
    if not done:
        return empty
    gaps = [ag for entry in done if (ag := entry.ag) is not None]
    times = [entry.row["seconds"] for entry in done if entry.row and entry.row["seconds"] is not None]
    return replace(
        empty,
        count=len(done),
        figures={name: _figure(name, done) for name in FIGURES},
        ag=Figure(*_mean(gaps)) if gaps else None,
        seconds=fmean(times) if times and role != "original" else None,
        params=_params(role, done),
        hole="",
    )


def _hole(entries: list[Entry]) -> str:
    if len({entry.hole for entry in entries}) == 1:
        return entries[0].hole
    return "; ".join(f"{entry.hole} (seed {entry.cell.seed})" for entry in entries)


def _figure(name: str, done: list[Entry]) -> Figure:
    """The gap is between means over the same seeds."""
    mean, half = _mean([entry.row[name] for entry in done if entry.row])
    pairs = [
        (entry.row[name], entry.reference[name])
        for entry in done
        if entry.row and entry.reference and entry.cell.method != "retrain"
    ]
    gap = abs(fmean(a for a, _ in pairs) - fmean(b for _, b in pairs)) if pairs else None
    return Figure(mean, half, gap)


def _mean(values: Sequence[float]) -> tuple[float, float | None]:
    """Mean and half of its 95 % interval by Student's t; None for a single value."""
    if len(values) < 2:
        return values[0], None
    from scipy.stats import t  # a second of import that one seed does not need

    quantile = float(t.ppf((1 + CONFIDENCE) / 2, len(values) - 1))
    return fmean(values), quantile * stdev(values) / math.sqrt(len(values))


def _params(role: Role, done: list[Entry]) -> str:
    """The chosen hyper-parameters; where seeds chose differently, which seeds chose what."""
    chosen: dict[str, list[int]] = {}
    for entry in done:
        row = entry.row or {}
        text = words.hyper_parameters(row["tried"]) if role == "method" else words.training(row["params"])
        chosen.setdefault(text, []).append(entry.cell.seed)
    if len(chosen) == 1:
        return next(iter(chosen))
    return "; ".join(f"{text} ({_seeds(seeds)})" for text, seeds in chosen.items())


def _seeds(seeds: Sequence[int]) -> str:
    return f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}"


def _marked(lines: list[Line]) -> list[Line]:
    """Marks best and second AG among the methods with the most seeds; equal as printed is a tie."""
    most = max((line.count for line in lines if line.role == "method"), default=0)
    shown = {
        line.method: round(line.ag.mean, 2)
        for line in lines
        if line.role == "method" and line.ag and line.count == most
    }
    ranks: dict[float, Mark] = dict(zip(sorted(set(shown.values())), ("best", "second"), strict=False))
    return [
        replace(line, mark=ranks.get(shown[line.method], "")) if line.method in shown else line
        for line in lines
    ]


def _facts(spec: GridSpec, at: Cell, entries: list[Entry]) -> tuple[tuple[str, str], ...]:
    width = spec.width(at.arch)
    seeds = _seeds(spec.seeds).removeprefix("seeds ").removeprefix("seed ")
    trials = max((entry.trials for entry in entries), default=0)
    search = f"up to {trials} trials per method, " if trials > 1 else ""
    protocols = {"paper": "paper (the equations)", "released": "released (as the published code)"}
    return (
        ("Data", f"{words.title(at.dataset)}, {words.images(at.dataset, spec)}"),
        ("Network", words.title(at.arch) + ("" if width == 1 else f", width × {width:g}")),
        ("Quantization", words.quantization(at.quant)),
        ("Forget set", _forgotten(at, entries)),
        ("Seeds", seeds + (" (mean ± 95 % interval)" if len(spec.seeds) > 1 else "")),
        ("Selection", f"{search}selected on {spec.select_on} figures, reported on test figures"),
        ("Protocol", protocols[spec.protocol]),
    )


def _forgotten(at: Cell, entries: list[Entry]) -> str:
    what = words.scenario(at.scenario, at.amount)
    row = next((e.row for e in entries if e.row and e.row["forget_count"] is not None), None)
    if row is None:
        return what
    return f"{what}: {row['forget_count']:,} of {row['forget_count'] + row['retain_count']:,} images"


def _notes(lines: list[Line], entries: list[Entry]) -> list[str]:
    """What a reader must know beside the figures: missing seeds, failed trials, uneven comparisons."""
    partial = {line.method for line in lines if 0 < line.count < line.seeds}
    notes = []
    for entry in entries:
        who = words.title(entry.cell.method) + (f", seed {entry.cell.seed}" if lines[0].seeds > 1 else "")
        if entry.hole and entry.cell.method in partial:
            notes.append(f"{who}: {entry.hole}")
        if entry.failed_trials:
            notes.append(f"{who}: {entry.failed_trials} of {entry.trials} trials failed and were passed over")
    if partial:
        notes.append(
            "Means are over the seeds that are there; gaps compare them with Retrain on the same seeds, and only"
            " methods with the most seeds are ranked"
        )
    return notes
