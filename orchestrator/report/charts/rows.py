"""The rows behind the charts: plain values, apart from the specifications, which are the same for every problem."""

from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import Any

from core.metrics import FIGURES, METRICS
from core.unlearn import Choice, Range
from orchestrator.report.charts.parts import Data, Rows, Scale, Scope
from orchestrator.report.charts.series_rows import along_of, option_rows
from orchestrator.report.gradient_norms import NORMS, WEIGHTS, epoch_facts, ratio
from orchestrator.report.intervals import Figure
from orchestrator.report.option_series import Series
from orchestrator.report.tables import Line, Table
from orchestrator.report.trials import KEY_DIGITS, EvaluatedTrial, ends
from orchestrator.results import Entry, Row
from orchestrator.spec import base_name, titles

PLACES = 4  # decimals of a figure in percent


EVEN = 12  # times the smallest gap
CONSTANTS = [{"zero": 0, "one": 1}]


def scope_of(
    tables: Sequence[Table], tried: Iterable[EvaluatedTrial], series: Sequence[Series] = ()
) -> Scope:
    """The methods of a report, what was searched of each, and what their variants are compared along."""
    found: dict[str, dict[str, Scale]] = {}
    for trial in tried:
        names = {name: _scale(trial.space[name]) for name in trial.point if name in trial.space}
        found.setdefault(trial.cell.method, {}).update(names)
    labels = dict.fromkeys(line.method for table in tables for line in table.lines)
    norms = [line for table in tables if table.norms for line in table.norms.lines]
    return Scope(
        tuple(labels),
        tuple((label, tuple(names.items())) for label, names in found.items()),
        frozenset(line.method for line in norms),
        frozenset(line.method for line in norms if line.what in WEIGHTS),
        len(tables),
        along_of(series),
        all(table.at.scenario == "class" for table in tables),
        _even(tables),
    )


def _even(tables: Sequence[Table]) -> bool:
    """Whether an even axis shows all gaps: the largest is not many times the smallest."""
    gaps = [line.ag.mean for table in tables for line in table.lines if line.ag and line.role != "reference"]
    return max(gaps, default=0.0) <= EVEN * min(gaps, default=0.0)


def _scale(values: Range | Choice) -> Scale:
    return "named" if isinstance(values, Choice) else "log" if values.log else "even"


def problem_data(
    table: Table,
    entries: Sequence[Entry],
    tried: Sequence[EvaluatedTrial],
    rows: Mapping[str, Row],
    series: Sequence[Series] = (),
) -> Data:
    """The data sets of one table. entries, tried, series: those of its problem at every seed. rows: all, by key."""
    retrains = [entry.row for entry in entries if entry.cell.method == "retrain" and entry.row]
    options, levels = option_rows(series, retrains)
    return {
        "options": options,
        "levels": levels,
        "trials": [_trial(trial) for trial in tried],
        "seeds": [_seed(entry, entry.row) for entry in entries if entry.row],
        "lines": with_front([_line(line, entries) for line in table.lines if line.count]),
        "curves": [row for entry in entries for row in _curve(entry, rows)],
        "epochs": [row for entry in entries for row in _epochs(entry, rows)],
        "retrain": [_mean(retrains)] if retrains else [],
        "floor": _floor(table),
        "constants": CONSTANTS,
    }


def overview_data(tables: Sequence[Table]) -> Data:
    """The AG of every method on every problem, with where its table stands on the page."""
    marks: Rows = []
    floors: Rows = []
    for number, table in enumerate(tables, 1):
        dataset, network, *others = table.title.split(" · ")
        problem = f"{dataset} · {network}\n{' · '.join(others)}"
        at = {"problem": problem, "order": number, "table": f"#table-{number}"}
        lines = [line for line in table.lines if line.role == "method" and line.ag]
        marks += [at | {"method": line.title} | _interval("ag", line.ag) for line in lines]
        floors += [at | floor for floor in _floor(table)]
    return {"problems": marks, "floors": floors}


def _trial(trial: EvaluatedTrial) -> dict[str, Any]:
    row = trial.row
    return _run(trial.cell.method, trial.cell.seed, trial.key, row, titles.hyper_parameters(row["tried"])) | {
        **trial.point,
        "ag": _rounded(trial.ag),
        "fa_off": _rounded(trial.difference("fa")),
        "ta_off": _rounded(trial.difference("ta")),
        "state": "selected" if trial.selected else "trial" if trial.whole else "part",
        "edges": " ".join(ends(trial)) if trial.selected else "",
    }


def _seed(entry: Entry, row: Row) -> dict[str, Any]:
    method = entry.cell.method
    tried = titles.hyper_parameters(row["tried"]) if entry.trials else titles.training(row["params"])
    return _run(method, entry.cell.seed, row["selected"] or entry.key, row, tried) | {
        "ag": _rounded(entry.ag),
        "role": _role(method),
    }


def _run(method: str, seed: int, key: str, row: Row, hyper: str) -> dict[str, Any]:
    seconds = row["seconds"]
    return {
        "method": titles.title(method),
        "seed": seed,
        "hyper": hyper,
        **{name: _rounded(row[name]) for name in FIGURES},
        **{name: _scaled(name, row.get(name)) for name in charted()},
        "seconds": seconds and float(f"{seconds:.4g}"),
        "time": titles.duration(seconds) if seconds else "–",
        "key": key[:KEY_DIGITS],
    }


def _line(line: Line, entries: Sequence[Entry]) -> dict[str, Any]:
    runs = [(entry, entry.row) for entry in entries if entry.row and entry.cell.method == line.method]
    seconds = [row["seconds"] for _, row in runs if row["seconds"]]
    of_time = Figure(fmean(seconds)) if seconds and line.role != "original" else None
    return {
        "method": line.title,
        "role": line.role,
        "seeds": f"{line.count} of {line.seeds}",
        "hyper": line.params,
        "keys": ", ".join((row["selected"] or entry.key)[:KEY_DIGITS] for entry, row in runs),
        **_interval("ag", line.ag),
        **{
            column: value
            for name in charted()
            for column, value in _interval(name, line.figures.get(name)).items()
        },
        **_interval("seconds", of_time),
    }


def with_front(lines: Rows) -> Rows:
    """The lines; `front` is true of methods that no other beats in AG and run time at once."""
    known = [
        line
        for line in lines
        if line["role"] == "method" and line.get("seconds") and line.get("ag") is not None
    ]
    return [
        line | {"front": any(line is one for one in known) and not _beaten(line, known)} for line in lines
    ]


def _beaten(line: dict[str, Any], others: Rows) -> bool:
    here = line["ag"], line["seconds"]
    there = [(other["ag"], other["seconds"]) for other in others if other is not line]
    return any(ag <= here[0] and seconds <= here[1] and (ag, seconds) != here for ag, seconds in there)


def _curve(entry: Entry, rows: Mapping[str, Row]) -> Rows:
    """The charted facts of each epoch of the trial that was selected; no loss that has no logarithm."""
    model = rows.get(entry.row["model"]) if entry.row and _role(entry.cell.method) == "method" else None
    at = {"method": titles.title(entry.cell.method), "seed": entry.cell.seed}
    return [
        at | {"epoch": fact["epoch"] + 1, "fact": fact["name"], "value": _digits(fact["value"])}
        for fact in (model or {}).get("curve") or ()
        if fact["name"] == "retain_accuracy" or (fact["name"] == "loss" and fact["value"] > 0)
    ]


def _interval(name: str, found: Figure | None) -> dict[str, Any]:
    """A mean and the ends of its interval, of which no figure is below 0 (nor, for a logarithmic axis, at 0)."""
    if found is None:
        return {}
    mean, half = found.mean, found.half
    if half is not None:
        low, high, text = max(mean / 100, mean - half), mean + half, f"{mean:.2f} ± {half:.2f}"
    elif found.low is not None and found.high is not None:
        low, high, text = found.low, found.high, f"{mean:.2f} [{found.low:.2f}, {found.high:.2f}]"
    else:
        return {name: _rounded(mean), f"{name}_text": f"{mean:.2f}"}
    ends = {f"{name}_low": _rounded(low), f"{name}_high": _rounded(high)}
    return {name: _rounded(mean), **ends, f"{name}_text": text}


def charted() -> list[str]:
    """The metrics that have a chart of their own by method."""
    return [name for name, metric in METRICS.items() if metric.chart]


def _role(method: str) -> str:
    return (
        "original"
        if base_name(method) == titles.ORIGINAL
        else "reference"
        if method == "retrain"
        else "method"
    )


def _epochs(entry: Entry, rows: Mapping[str, Row]) -> Rows:
    if entry.row is None:
        return []
    at = {"method": titles.title(entry.cell.method), "seed": entry.cell.seed}
    key = (entry.row["selected"] or entry.key)[:KEY_DIGITS]
    return [
        at | {"epoch": epoch + 1, "ratio": _digits(ratio(facts)), "key": key}
        | {name: _digits(facts.get(name)) for name in (*NORMS, *WEIGHTS)}
        for epoch, facts in epoch_facts(entry, rows).items()
    ]  # fmt: skip


def _mean(retrains: Sequence[Row]) -> dict[str, Any]:
    wanted = dict.fromkeys((*FIGURES, "ef", "seconds", *charted()))
    names = [name for name in wanted if all(row.get(name) is not None for row in retrains)]
    means = {name: _scaled(name, fmean(row[name] for row in retrains)) for name in names}
    seconds = means.get("seconds")
    return means | {"time": titles.duration(seconds) if seconds else "–"}


def _floor(table: Table) -> Rows:
    if table.floor is None:
        return []
    return [
        {"zero": 0, "floor": _rounded(table.floor.mean), "text": f"noise floor: AG {table.floor.mean:.2f}"}
    ]


def _scaled(name: str, value: float | None) -> float | None:
    """A row's figure as the charts show it."""
    return None if value is None else _rounded(METRICS[name].scale * value)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(float(value), PLACES)


def _digits(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.4g}")
