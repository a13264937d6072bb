"""Gradient norms of the selected trials, epoch by epoch: the ratio of the paper's figure 1, and the weights."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from orchestrator.results import Entry
from orchestrator.spec import titles

Row = dict[str, Any]
NORMS = ("forget_gradient_norm", "retain_gradient_norm")
WEIGHTS = ("w_forget", "w_retain")
SHOWN = 12  # epochs of a table; results.parquet and gradient_norms.csv have all


@dataclass(frozen=True)
class NormLine:
    """A mean over seeds by epoch (counted from 1): `what` is forget / retain, w_forget or w_retain."""

    method: str
    title: str
    what: str
    values: dict[int, float]


@dataclass(frozen=True)
class NormTable:
    """The lines of one problem and the epochs to show: all, or some spread over the whole."""

    epochs: tuple[int, ...]
    lines: tuple[NormLine, ...]


def epoch_facts(entry: Entry, rows: Mapping[str, Row]) -> dict[int, dict[str, float]]:
    """Epoch (from 0) to the facts of the trial whose evaluation an entry's selection chose; empty without them."""
    model = rows.get(entry.row["model"]) if entry.row else None
    found: dict[int, dict[str, float]] = {}
    for fact in (model or {}).get("curve") or ():
        found.setdefault(fact["epoch"], {})[fact["name"]] = fact["value"]
    return {epoch: facts for epoch, facts in sorted(found.items()) if set(NORMS) <= facts.keys()}


def first_facts(model: Row) -> dict[str, float]:
    """What a training told once, or first."""
    found: dict[str, float] = {}
    for fact in model.get("curve") or ():
        found.setdefault(fact["name"], fact["value"])
    return found


def ratio(facts: Mapping[str, float]) -> float | None:
    """The forget set's gradient norm over the retain set's; None where the latter vanishes."""
    forget, retain = (facts[name] for name in NORMS)
    return forget / retain if retain else None


def norm_table(methods: Mapping[str, Sequence[Entry]], rows: Mapping[str, Row]) -> NormTable | None:
    """The gradient norms of a problem's methods; None where no selected trial measured any."""
    lines = [line for method, entries in methods.items() for line in _lines(method, entries, rows)]
    epochs = sorted({epoch for line in lines for epoch in line.values})
    return NormTable(_spread(epochs), tuple(lines)) if lines else None


def _lines(method: str, entries: Sequence[Entry], rows: Mapping[str, Row]) -> list[NormLine]:
    seeds = [epoch_facts(entry, rows) for entry in entries]
    measured = {"forget / retain": [{e: ratio(facts) for e, facts in seed.items()} for seed in seeds]}
    measured |= {
        name: [{e: facts.get(name) for e, facts in seed.items()} for seed in seeds] for name in WEIGHTS
    }
    means = ((what, _means(values)) for what, values in measured.items())
    return [NormLine(method, titles.title(method), what, values) for what, values in means if values]


def _means(seeds: Iterable[Mapping[int, float | None]]) -> dict[int, float]:
    """Means by epoch, counted from 1, over the seeds that have the value."""
    values: dict[int, list[float]] = {}
    for seed in seeds:
        for epoch, value in seed.items():
            if value is not None:
                values.setdefault(epoch + 1, []).append(value)
    return {epoch: fmean(found) for epoch, found in sorted(values.items())}


def _spread(epochs: Sequence[int]) -> tuple[int, ...]:
    """At most SHOWN epochs, the first and the last among them."""
    if len(epochs) <= SHOWN:
        return tuple(epochs)
    last = len(epochs) - 1
    return tuple(epochs[round(i * last / (SHOWN - 1))] for i in range(SHOWN))
