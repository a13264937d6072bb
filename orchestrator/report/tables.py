"""The comparison tables as plain values: one for each dataset, network, quantization and forget set."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePath
from statistics import fmean
from typing import Literal

from core.metrics import FIGURES, MAIN, METRICS, Metric, columns
from orchestrator.plan import Cell, Plan
from orchestrator.report.attack_notes import attack_notes
from orchestrator.report.gradient_norms import NormTable, first_facts, norm_table
from orchestrator.report.image_noise import ag_half, figure_half, gap_half, over_seeds
from orchestrator.report.intervals import Figure, figure, joined, seed_half
from orchestrator.report.noise import Floor, Near, floor_text, noise_floor
from orchestrator.report.option_series import original_of
from orchestrator.report.paper import Beside, beside
from orchestrator.report.references import class_counts, refused_of, with_refusals
from orchestrator.report.search_effort import effort_text
from orchestrator.report.trials import Tried, edges_of, tried_of
from orchestrator.report.verdict import BySeed, Verdict, judge
from orchestrator.results import Entry, Row, collect, with_figures
from orchestrator.spec import GridSpec, base_name, start_caveats, strict, titles

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

    floor: the noise floor of AG; None where fewer than two Retrains are there. beside: the paper's figures.
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
    beside: Beside | None = None
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


def build_tables(spec: GridSpec, plan: Plan, rows: Iterable[Row]) -> list[Table]:
    """The tables of a grid, in the plan's order, seeds within; a hole stays a hole."""
    by_key = {row["key"]: row for row in with_figures(rows)}
    entries = with_refusals(collect(plan, by_key.values()), class_counts(plan))
    return tables_of(spec, entries, by_key, tried_of(plan, entries, by_key))


def tables_of(
    spec: GridSpec, entries: Iterable[Entry], rows: Mapping[str, Row], tried: Iterable[Tried] = ()
) -> list[Table]:
    """The tables of a grid's entries. rows: all rows by key, which hold the curves of the selected trials."""
    groups: dict[Cell, dict[str, list[Entry]]] = {}
    for entry in entries:
        at = entry.cell._replace(seed=spec.seeds[0], method="retrain")
        groups.setdefault(at, {}).setdefault(entry.cell.method, []).append(entry)
    trials: dict[Cell, list[Tried]] = {}
    for trial in tried:
        trials.setdefault(trial.cell._replace(seed=spec.seeds[0], method="retrain"), []).append(trial)
    tables = {at: _table(spec, at, methods, rows) for at, methods in groups.items()}
    return [replace(table, edges=_edges(trials.get(at, []))) for at, table in tables.items()]


def _edges(tried: Sequence[Tried]) -> tuple[str, ...]:
    return tuple(edge.text for edge in edges_of(tried))


def _table(spec: GridSpec, at: Cell, methods: dict[str, list[Entry]], rows: Mapping[str, Row]) -> Table:
    everything = [entry for entries in methods.values() for entry in entries]
    refused = refused_of(everything)
    retrains = [entry.row for entry in methods.get("retrain", ()) if entry.row]
    floor = None if refused else noise_floor(retrains)
    lines = [_line(name, entries, rows) for name, entries in methods.items()]
    verdict = judge(*_ranked(lines, methods), floor)
    scenario = titles.scenario(at.scenario, at.amount)
    return Table(
        at,
        f"{titles.title(at.dataset)} · {titles.title(at.arch)} · {at.quant} · {scenario}",
        _facts(spec, at, everything, floor),
        tuple(_marked(line, verdict, floor) for line in lines),
        (*_notes(lines, everything), *attack_notes(methods)),
        floor,
        beside(spec, at, {line.method: _means(line) for line in lines}, len(spec.seeds)),
        norm_table(methods, rows),
        verdict=verdict,
        refused=refused,
        caveats=tuple(start_caveats(spec, at.arch)),
        strict=strict(spec, at.arch),
    )


def _figure_table(heading: str, lines: Iterable[Line]) -> FigureTable:
    names = [name for name, metric in METRICS.items() if metric.table == heading]
    shown = tuple(line for line in lines if any(name in line.figures for name in names))
    return FigureTable(heading, tuple(name for name in names if any(name in n.figures for n in shown)), shown)


def _means(line: Line) -> dict[str, float | None]:
    means: dict[str, float | None] = {name: value.mean for name, value in line.figures.items()}
    return means | {"ag": line.ag.mean if line.ag else None}


def _line(method: str, entries: list[Entry], rows: Mapping[str, Row]) -> Line:
    role: Role = (
        "original"
        if base_name(method) == titles.ORIGINAL
        else "reference"
        if method == "retrain"
        else "method"
    )
    empty = Line(method, titles.title(method), role, 0, len(entries), hole=_hole(entries))
    done = [entry for entry in entries if entry.row]
    if not done:
        return empty
    gaps = [ag for entry in done if (ag := entry.ag) is not None]
    return replace(
        empty,
        count=len(done),
        figures={
            name: found
            for name, metric in METRICS.items()
            if not (role == "original" and metric.reads == "training")  # it was not unlearned
            and (found := _figure(name, metric, done)) is not None
        },
        ag=figure(gaps, images=_ag_half(done)) if gaps else None,
        trainable=_trainable(done, rows),
        params=_params(role, done),
        hole="",
    )


def _hole(entries: list[Entry]) -> str:
    if len({entry.hole for entry in entries}) == 1:
        return entries[0].hole
    return "; ".join(f"{entry.hole} (seed {entry.cell.seed})" for entry in entries)


def _figure(name: str, metric: Metric, done: list[Entry]) -> Figure | None:
    """The gap is between means over the same seeds."""
    values = [metric.scale * value for value in _values(name, done)]
    if not values:
        return None
    found = figure(values, _gap(name, metric, done))
    if name in FIGURES:
        half, of_gap = _halves(name, done)
        return replace(found, half=half, gap_half=of_gap)
    ends = [metric.scale * value for end in columns(name)[1:] for value in _values(end, done)]
    return replace(found, low=ends[0], high=ends[1]) if len(ends) == 2 else found


def _halves(name: str, done: list[Entry]) -> tuple[float | None, float | None]:
    """Half the intervals of a figure behind AG and of its gap, by images and by seeds."""
    images = over_seeds(figure_half(entry.row, name) for entry in done if entry.row)
    pairs = _pairs(done)
    apart = [row[name] - retrain[name] for row, retrain in pairs]
    of_gap = over_seeds(gap_half(row, retrain, name) for row, retrain in pairs) if pairs else None
    return joined(seed_half(_values(name, done)), images), joined(seed_half(apart), of_gap)


def _pairs(done: list[Entry]) -> list[tuple[Row, Row]]:
    """The rows with Retrain's of the same seed, where that is a reference."""
    return [
        (entry.row, entry.reference)
        for entry in done
        if entry.row and entry.reference and not entry.refused and entry.cell.method != "retrain"
    ]


def _ag_half(done: list[Entry]) -> float | None:
    return over_seeds(ag_half(row, retrain) for row, retrain in _pairs(done))


def _gap(name: str, metric: Metric, done: list[Entry]) -> float | None:
    """Distance to Retrain, of metrics that are to be close to it."""
    if metric.better != "closer to Retrain":
        return None
    pairs = [(row.get(name), retrain.get(name)) for row, retrain in _pairs(done)]
    known = [(a, b) for a, b in pairs if a is not None and b is not None]
    return metric.scale * abs(fmean(a for a, _ in known) - fmean(b for _, b in known)) if known else None


def _values(name: str, done: list[Entry]) -> list[float]:
    return [value for entry in done if (value := (entry.row or {}).get(name)) is not None]


def _trainable(done: list[Entry], rows: Mapping[str, Row]) -> Figure | None:
    """The fact of that name, a share, of the models whose evaluations were chosen."""
    models = (rows.get(entry.row["model"]) for entry in done if entry.row)
    told = (first_facts(model or {}).get("trainable") for model in models)
    values = [100 * share for share in told if share is not None]
    return figure(values) if values else None


def _params(role: Role, done: list[Entry]) -> str:
    """The chosen hyper-parameters; where seeds chose differently, which seeds chose what."""
    chosen: dict[str, list[int]] = {}
    for entry in done:
        row = entry.row or {}
        text = titles.hyper_parameters(row["tried"]) if role == "method" else titles.training(row["params"])
        chosen.setdefault(text, []).append(entry.cell.seed)
    if len(chosen) == 1:
        return next(iter(chosen))
    return "; ".join(f"{text} ({_seeds(seeds)})" for text, seeds in chosen.items())


def _seeds(seeds: Sequence[int]) -> str:
    return f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}"


def _ranked(
    lines: list[Line], methods: Mapping[str, list[Entry]]
) -> tuple[dict[str, BySeed], dict[str, BySeed]]:
    """The methods with the most seeds, and of each the original that it changed; both by seed."""
    most = max((line.count for line in lines if line.role == "method"), default=0)
    ranked = [line.method for line in lines if line.role == "method" and line.ag and line.count == most]
    by_seed: dict[str, BySeed] = {
        method: {entry.cell.seed: entry for entry in entries if entry.row}
        for method, entries in methods.items()
    }
    originals = {method: by_seed.get(_original(by_seed[method]), {}) for method in ranked}
    return {method: by_seed[method] for method in ranked}, originals


def _original(seeds: BySeed) -> str:
    """The label of the original that a method changed."""
    entry = next(iter(seeds.values()))
    return original_of(entry.cell.method, json.loads((entry.row or {})["params"] or "{}"))


def _marked(line: Line, verdict: Verdict, floor: Floor | None) -> Line:
    """The line with its rank, where one may be given, and what it is not told apart from."""
    if line.method not in verdict.ranked or line.ag is None:
        return line
    marks: dict[str, Mark] = {verdict.best: "best", verdict.second: "second"}
    near = verdict.near(line.method, line.ag.mean, floor)
    return replace(line, mark=marks.get(line.method, ""), near=near)


def _facts(
    spec: GridSpec, at: Cell, entries: list[Entry], floor: Floor | None
) -> tuple[tuple[str, str], ...]:
    width = spec.width(at.arch)
    seeds = _seeds(spec.seeds).removeprefix("seeds ").removeprefix("seed ")
    trials = max((entry.trials for entry in entries), default=0)
    protocols = {"paper": "paper (the equations)", "released": "released (as the published code)"}
    splits = {"one": "one split", "mismatched": "mismatched splits (the original's and the forget set's)"}
    return (
        ("Data", f"{titles.title(at.dataset)}, {titles.images(at.dataset, spec)}"),
        (
            "Network",
            titles.title(at.arch) + ("" if width == 1 else f", width × {width:g}") + _start(spec, at.arch),
        ),
        ("Quantization", titles.quantization(at.quant)),
        ("Forget set", _forgotten(at, entries)),
        (
            "Seeds",
            seeds
            + (" (mean ± 95 % interval)" if len(spec.seeds) > 1 else " (± 95 % interval by the images)"),
        ),
        ("Noise floor", floor_text(floor, len(spec.seeds))),
        ("Selection", f"{_search(spec, trials)}, reported on test figures"),
        ("Search", effort_text(spec.search, entries)),
        ("Protocol", f"{protocols[spec.protocol]}, {splits[spec.splits]}"),
    )


def _start(spec: GridSpec, arch: str) -> str:
    """`, from swin_t.safetensors (SHA-256 0123456789ab…)` for a network that starts from a file."""
    file = spec.weights.get(arch)
    return f", from {PurePath(file.path).name} (SHA-256 {file.sha256[:12]}…)" if file else ""


def _search(spec: GridSpec, trials: int) -> str:
    if trials > 1:
        return f"up to {trials} trials per method, selected on {spec.selects_on} figures"
    return "one trial per method"


def _forgotten(at: Cell, entries: list[Entry]) -> str:
    what = titles.scenario(at.scenario, at.amount)
    row = next((e.row for e in entries if e.row and e.row["forget_count"] is not None), None)
    if row is None:
        return what
    return f"{what}: {row['forget_count']:,} of {row['forget_count'] + row['retain_count']:,} images"


def _notes(lines: list[Line], entries: list[Entry]) -> list[str]:
    """What a reader must know beside the figures: missing seeds, failed trials, uneven comparisons."""
    partial = {line.method for line in lines if 0 < line.count < line.seeds}
    notes = []
    for entry in entries:
        who = titles.title(entry.cell.method) + (f", seed {entry.cell.seed}" if lines[0].seeds > 1 else "")
        if entry.hole and entry.cell.method in partial:
            notes.append(f"{who}: {entry.hole}")
        if entry.failed_trials:
            notes.append(f"{who}: {entry.failed_trials} of {entry.trials} trials failed and were passed over")
    if any(entry.row and (entry.row["gpu_share"] or 1) < 1 for entry in entries):
        notes.append(
            "Some run times were measured on GPUs that other trials shared: RTE compares no methods here"
        )
    if partial:
        notes.append(
            "Means are over the seeds that are there; gaps compare them with Retrain on the same seeds, and only"
            " methods with the most seeds are ranked"
        )
    return notes
