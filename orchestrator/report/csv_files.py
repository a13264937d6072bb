"""Every figure at full precision as CSV: the results, every trial, and the gradient norms by epoch."""

import csv
import io
from collections.abc import Collection, Iterable, Mapping, Sequence

from core.metrics import FIGURES, METRICS, all_columns, columns as columns_of
from orchestrator.plan import Cell
from orchestrator.report.gradient_norms import NORMS, WEIGHTS, epoch_facts, ratio
from orchestrator.report.image_noise import Interval, ag_half, figure_interval, gap_half
from orchestrator.report.option_series import Series
from orchestrator.report.paper import COMPARED, find_published, pairs_of
from orchestrator.report.tables import Line, Table
from orchestrator.report.trials import EvaluatedTrial, ends
from orchestrator.results import Entry, Row, request_facts
from orchestrator.spec import GridSpec

_ROW = (
    "ag_validation", "epochs", "forget_count", "retain_count", "test_count", "tried", "params", "protocol", "select_on",
    "model", "selected", "reference", "code_revision", "hardware",
)  # fmt: skip
_PRINTED = (
    *(f"{name}_published" for name in COMPARED), *(f"{name}_difference" for name in COMPARED), "published_table",
    "published_note",
)  # fmt: skip
_JUDGED = (
    "ag", "noise_floor", "distinguishable", "distinguishable_from_retrain", "trials", "failed_trials", "key",
)  # fmt: skip
_VERDICT = (
    *(f"{name}_{end}" for name in FIGURES for end in Interval._fields), *(f"{name}_gap_half" for name in FIGURES),
    "ag_half", "to_leader", "to_leader_half", "to_original", "to_original_half", "closer_than_original",
    "reference_refused", "reference_start", "weights_saw",
)  # fmt: skip
_GAPS = tuple(f"{name}_gap" for name in FIGURES)
_WORDS = {True: "true", False: "false"}
OPTION_COLUMNS = (
    *Cell._fields, "series", "option", "asked", "measured", *FIGURES, "ef", "ag", "recorded_bytes", "key", "original",
)  # fmt: skip
NORM_COLUMNS = (*Cell._fields, "epoch", *NORMS, "ratio", *WEIGHTS)


def columns() -> tuple[str, ...]:
    """Of the results: every registered metric is among them."""
    metrics = [name for name in all_columns() if name not in FIGURES]
    return (
        *Cell._fields,
        "status",
        "reason",
        *FIGURES,
        *_GAPS,
        *_JUDGED,
        *metrics,
        *_ROW,
        *_PRINTED,
        *_VERDICT,
    )


def trial_columns() -> tuple[str, ...]:
    """Of the trials: every metric that does not need Retrain's outputs."""
    metrics = [
        column
        for name, metric in METRICS.items()
        if metric.reads != "outputs" and name not in FIGURES
        for column in columns_of(name)
    ]
    place = (*Cell._fields, "selected", "whole", "tried", "edges")
    return (*place, *FIGURES, *_GAPS, "ag", "ag_validation", *metrics, "params", "key", "model", "reference")


def results_csv(entries: Iterable[Entry], tables: Sequence[Table], spec: GridSpec | None = None) -> str:
    """One line for each method, problem and seed.

    fa_low to mia_high, fa_gap_half to ag_half: 95 % intervals of that seed by its images. noise_floor, distinguishable
    (from the smallest AG), distinguishable_from_retrain, to_leader and to_original (the AG less the smallest one, and
    less the untouched original's, with half of their intervals) and closer_than_original are about the means over
    seeds of the tables; they are empty where they are unknown, and the smallest is not compared with itself.
    reference_refused: why there are no gaps. reference_start: SHA-256 of the file that originals and Retrains start
    from, weights_saw: what it saw of the forget set, as spec declares it. At the end, what methods told of their
    requests (`Method.facts`).
    """
    entries = list(entries)
    facts = dict.fromkeys(name for entry in entries for name in request_facts(entry.cell.method))
    judged = {
        table.at._replace(seed=0, method=line.method): _judged(table, line)
        for table in tables
        for line in table.lines
    }
    return csv_text(
        (*columns(), *facts),
        (_row(entry) | judged[entry.cell._replace(seed=0)] | _start(entry, spec) for entry in entries),
    )


def _start(entry: Entry, spec: GridSpec | None) -> dict[str, object]:
    """The file that the reference starts from, and what it saw."""
    file = spec.weights.get(entry.cell.arch) if spec else None
    if spec is None or file is None:
        return {}
    return {"reference_start": file.sha256, "weights_saw": spec.weights_saw.get(entry.cell.arch, "unknown")}


def trials_csv(tried: Iterable[EvaluatedTrial]) -> str:
    """One line for each finished trial. whole: false for a look at one on its way. edges: ends of ranges it sits on."""
    known = trial_columns()
    return csv_text(known, (_trial(trial, known) for trial in tried))


def _trial(trial: EvaluatedTrial, known: Collection[str]) -> dict[str, object]:
    gaps = {f"{name}_gap": off for name in FIGURES if (off := trial.difference(name)) is not None}
    return {
        **{name: value for name, value in trial.row.items() if name in known},
        **trial.cell._asdict(),
        **{name: abs(off) for name, off in gaps.items()},
        "selected": _WORDS[trial.selected],
        "whole": _WORDS[trial.whole],
        "edges": " ".join(f"{name}:{end}" for name, end in ends(trial).items()),
        "ag": trial.ag,
        "ag_validation": trial.ag_validation,
        "key": trial.key,
        "reference": trial.reference["key"] if trial.reference else None,
    }


def norms_csv(entries: Iterable[Entry], rows: Mapping[str, Row]) -> str:
    """One line for each epoch (from 1) of the selected trials that measured gradient norms."""
    return csv_text(
        NORM_COLUMNS,
        (
            entry.cell._asdict()
            | {"epoch": epoch + 1, "ratio": ratio(facts)}
            | {name: facts.get(name) for name in (*NORMS, *WEIGHTS)}
            for entry in entries
            for epoch, facts in epoch_facts(entry, rows).items()
        ),
    )


def options_csv(found: Iterable[Series]) -> str:
    """One line for each variant and seed of the series: what was asked of an option, what it came to, and figures.

    series: the label of what its variants share. original: the evaluation of the network that the variant changed.
    """
    return csv_text(
        OPTION_COLUMNS,
        (
            point.entry.cell._asdict()
            | {name: point.row[name] for name in (*FIGURES, "ef")}
            | {
                "series": series.label,
                "option": series.option,
                "asked": point.asked,
                "measured": point.measured,
            }
            | {"ag": point.entry.ag, "recorded_bytes": point.stored, "key": point.entry.key}
            | {"original": point.original["key"] if point.original else None}
            for series in found
            for point in series.points
        ),
    )


def csv_text(columns: Sequence[str], lines: Iterable[Mapping[str, object]]) -> str:
    """Lines under a heading; what a line lacks is empty."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return buffer.getvalue()


def _row(entry: Entry) -> dict[str, object]:
    row = entry.row or {}
    return {
        **entry.cell._asdict(),
        "status": entry.status,
        "reason": entry.hole,
        **{name: row.get(name) for name in (*all_columns(), *_ROW)},
        **{f"{name}_gap": entry.gap(name) for name in FIGURES},
        "ag": entry.ag,
        "trials": entry.trials or None,
        "failed_trials": entry.failed_trials if entry.row and entry.trials else None,
        "key": entry.key,
        **_printed(entry),
        **_intervals(entry),
        **{name: row.get(name) for name in request_facts(entry.cell.method)},
        "reference_refused": entry.refused,
    }


def _intervals(entry: Entry) -> dict[str, object]:
    """What the images of one seed leave open."""
    row, retrain = entry.row, entry.reference
    if row is None:
        return {}
    ends = {name: figure_interval(row, name) for name in FIGURES}
    found: dict[str, object] = {
        f"{name}_{end}": value
        for name, ends_ in ends.items()
        if ends_
        for end, value in ends_._asdict().items()
    }
    if retrain is None or entry.refused or entry.cell.method == "retrain":
        return found
    gaps = {f"{name}_gap_half": gap_half(row, retrain, name) for name in FIGURES}
    return found | gaps | {"ag_half": ag_half(row, retrain)}


def _printed(entry: Entry) -> dict[str, object]:
    """The printed figures of an entry and its distance to them; no distance to a row that contradicts itself."""
    rows = find_published(entry.cell)
    if not rows:
        return {}
    ours = {name: (entry.row or {}).get(name) for name in FIGURES} | {"ag": entry.ag}
    pairs = pairs_of(rows[0], ours)
    return {
        **{f"{name}_published": pair.printed for name, pair in pairs.items()},
        **{f"{name}_difference": pair.difference for name, pair in pairs.items()},
        "published_table": " ".join(str(row.table) for row in rows),
        "published_note": rows[0].note,
    }


def _judged(table: Table, line: Line) -> dict[str, object]:
    """What may be said about a method's mean AG, in JSON's words."""
    said: dict[str, object] = {"noise_floor": table.floor.mean if table.floor else None}
    verdict, method = table.verdict, line.method
    if method not in verdict.ranked:
        return said
    for name, found in (("to_leader", verdict.to_leader), ("to_original", verdict.to_original)):
        if method in found:
            said |= {name: found[method].mean, f"{name}_half": found[method].half}
    said["closer_than_original"] = _WORDS[method in verdict.closer]
    if table.floor:
        said["distinguishable_from_retrain"] = _WORDS[line.near != "retrain"]
    if method in verdict.level:
        said["distinguishable"] = _WORDS[False]
    elif method != verdict.leader and verdict.seeds > 1:
        said["distinguishable"] = _WORDS[True]
    return said
