"""A line of a comparison table: a method's figures over its seeds, each with its interval and its gap to Retrain."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import fmean

from core.metrics import FIGURES, METRICS, Metric, columns
from orchestrator.report.gradient_norms import first_facts
from orchestrator.report.image_noise import ag_half, figure_half, gap_half, over_seeds
from orchestrator.report.intervals import Figure, figure, joined, seed_half
from orchestrator.report.tables import Line, Role
from orchestrator.results import Entry, Row
from orchestrator.spec import base_name, titles


def line_of(method: str, entries: list[Entry], rows: Mapping[str, Row]) -> Line:
    """A method's line, from its entries, one a seed. rows: all rows by key, for what the chosen trainings told."""
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
    return "; ".join(f"{text} ({seeds_text(seeds)})" for text, seeds in chosen.items())


def seeds_text(seeds: Sequence[int]) -> str:
    """`seed 1` or `seeds 1, 2, 3`."""
    return f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}"
