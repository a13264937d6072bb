"""What single methods tell of a request, in sentences beneath a table: a certificate's reach, the cost of shards."""

import json
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

from core.data import dataset_info
from core.network_costs import megamacs, parameters
from orchestrator.plan import Cell
from orchestrator.results import Entry, Row
from orchestrator.spec import GridSpec, strict, titles

EMPTY = 10.0  # an ε from which on a certificate allows odds of more than e^10 and promises next to nothing


def method_notes(spec: GridSpec, at: Cell, methods: Mapping[str, Sequence[Entry]]) -> list[str]:
    """A sentence or two for each method of a table whose rows tell of a head certificate, or of several networks."""
    found = {method: [entry.row for entry in entries if entry.row] for method, entries in methods.items()}
    notes = []
    for method, rows in found.items():
        certified = [row for row in rows if row.get("head_certificate_epsilon") is not None]
        shared = [row for row in rows if row.get("networks") is not None]
        if certified:
            notes.append(f"{titles.title(method)}: {_certificate(spec, at, certified)}")
        if shared:
            notes += [f"{titles.title(method)}: {said}" for said in _shards(spec, at, shared)]
    return notes


def _certificate(spec: GridSpec, at: Cell, rows: Sequence[Row]) -> str:
    """`head certificate, ε = 0.82 at δ = 0.0001 (residual bound 0.19); it covers the linear head alone: …`."""
    params = json.loads(rows[0]["params"] or "{}")
    epsilon, bound = (max(row[f"head_certificate_{name}"] for row in rows) for name in ("epsilon", "bound"))
    seeds = f", the largest of {len(rows)} seeds" if len(rows) > 1 else ""
    delta = f" at δ = {params['delta']:g}" if "delta" in params else ""
    figures = f"head certificate, ε = {_short(epsilon)}{delta} (residual bound {_short(bound)}{seeds})"
    empty = f"; an ε above {EMPTY:g} promises next to nothing" if epsilon > EMPTY else ""
    return f"{figures}; {_covered(spec, at, params)}{empty}"


def _covered(spec: GridSpec, at: Cell, params: Mapping[str, Any]) -> str:
    """What the certificate is about: the head, or everything where nothing beneath it saw the forget set."""
    alone = "it covers the linear head alone:"
    if params.get("backbone") != "frozen":
        return f"{alone} the features beneath it saw the forget set"
    file = spec.weights.get(at.arch)
    if file and not strict(spec, at.arch):
        return (
            f"{alone} the frozen features beneath it come from {PurePath(file.path).name}, which may have seen the"
            f" forget set (if it never did, declare weights_saw.{at.arch}=none)"
        )
    if at.quant != "fp":
        return f"{alone} the quantizers of the frozen features beneath it were calibrated on training images"
    why = "were frozen as they were drawn"
    if file:
        why = f"are frozen from {PurePath(file.path).name}, as the grid declares (weights_saw.{at.arch}=none)"
    return (
        f"the features beneath the head never saw the forget set, so it covers the whole network: they {why}"
    )


def _shards(spec: GridSpec, at: Cell, rows: Sequence[Row]) -> list[str]:
    """What the request reached, and what so many networks cost where they are used."""
    count = max(int(row["networks"]) for row in rows)
    share = _span([100 * row["retrained_share"] for row in rows])
    reached = [row for row in rows if row["affected_shards"]]
    networks = f"{count} network{'s' if count > 1 else ''}"
    where = f"the request reached {_span([row['affected_shards'] for row in rows])} of {networks}"
    if reached:
        where += f", from slice {_span([row['first_slice'] + 1 for row in reached])} on"
    return [f"{where}; {share} % of the training was done again", *_cost(spec, at, count)]


def _short(value: float) -> str:
    """Three digits, or a whole number with all of its own: `0.176`, `44.4`, `1,430`."""
    return f"{value:.3g}" if value < 1000 else f"{value:,.0f}"


def _span(values: Sequence[float]) -> str:
    """`3`, or `1 to 5` over seeds that differ."""
    low, high = _short(min(values)), _short(max(values))
    return low if low == high else f"{low} to {high}"


def _cost(spec: GridSpec, at: Cell, count: int) -> list[str]:
    """Memory and latency of several networks on a device, by counting; nothing of a single one.

    Of a folder whose classes nobody knows before it is read only the factor is told.
    """
    if count == 1:
        return []
    latency = f"one after another they take about {count} times one network's latency (counted, not measured)"
    info, width = dataset_info(at.dataset), spec.width(at.arch)
    if not info.classes:
        return [f"on a device {count} networks are in memory and all answer; {latency}"]
    weights = parameters(at.arch, width, info.classes) / 1e6
    macs = megamacs(at.arch, width, info.pixels, info.classes)
    return [
        f"on a device it is {_times(count, weights)} million parameters in memory (as float32 {_short(4 * weights)} MB"
        f" for one network, {_short(4 * count * weights)} MB for all) and {_times(count, macs)} million"
        f" multiply-accumulates an answer; {latency}"
    ]


def _times(count: int, value: float) -> str:
    """`5 × 0.176 = 0.882`."""
    return f"{count} × {_short(value)} = {_short(count * value)}"
