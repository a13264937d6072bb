"""Rows with a column for each metric, whether the node measured it or a score did later."""

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

import pyarrow as pa

from core.metrics import FIGURES, all_columns
from core.unlearn import METHODS
from orchestrator.results.parquet import Row
from orchestrator.spec import base_name
from tasks import DECIDED_ALIKE, SCHEMA, Record

SCORE, EXPORT = "score", "evaluate_export"  # the kinds of rows that fill others


def with_figures(rows: Iterable[Row]) -> list[Row]:
    """The rows, each with a column for every registered metric and for whatever else it has a figure of.

    An evaluation or selection that lacks a figure takes it from the scores among the rows that are about it; of a
    selection also from those about the evaluation that it chose. `rescored` names what it took. A model, and what
    looked at it, has what its method told of the request (`Method.facts`). A second time changes nothing.
    """
    everything = list(rows)
    told, requests = _told(everything), _requests(everything)
    return [_with_figures(row, told, requests.get(row.get("model") or row["key"], {})) for row in everything]


@cache
def request_facts(method: str) -> tuple[str, ...]:
    """Columns of what a method tells of a request, by its label; of the untouched original's, none."""
    name = base_name(method)
    return METHODS[name].facts if name in METHODS else ()


def record_of(row: Row) -> Record:
    """A row as the record that it is kept as, figures that scores told included."""
    return Record.model_validate({name: row[name] for name in Record.model_fields if name in row})


def wide_schema(rows: Iterable[Row]) -> pa.Schema:
    """The declared schema with a column for each metric in the place of `scores`. rows: of `with_figures`."""
    known = dict.fromkeys(all_columns()) | dict.fromkeys(name for row in rows for name in _own(row))
    fields = [field for field in SCHEMA if field.name != "scores"]
    return pa.schema(fields + [pa.field(name, pa.float64()) for name in known if name not in SCHEMA.names])


def _own(row: Row) -> dict[str, float | None]:
    return {score["name"]: score["value"] for score in row.get("scores") or ()}


def _told(rows: Iterable[Row]) -> dict[str, dict[str, float | None]]:
    """What scores say, by the node that they are about."""
    told: dict[str, dict[str, float | None]] = {}
    for row in rows:
        if row["kind"] == SCORE and row["status"] == "done":
            fields = {name: row[name] for name in all_columns() if row.get(name) is not None}
            told.setdefault(row["scored"], {}).update(fields | _own(row))
        elif row["kind"] == EXPORT and row["status"] == "done":
            told.setdefault(row["scored"], {}).update(_exported(row))
    return told


def _requests(rows: Iterable[Row]) -> dict[str, dict[str, float | None]]:
    """What methods told of their requests, by the node of the model."""
    found: dict[str, dict[str, float | None]] = {}
    for row in rows:
        if names := row.get("curve") and request_facts(row.get("method") or ""):
            facts = {fact["name"]: fact["value"] for fact in row["curve"] if fact["name"] in names}
            found[row["key"]] = facts
    return found


def _exported(row: Row) -> dict[str, float | None]:
    """What the exported network's own row says, as columns beside the fake-quantized figures."""
    figures = {f"{name}_exported": row[name] for name in FIGURES}
    return figures | {DECIDED_ALIKE: _own(row).get(DECIDED_ALIKE)}


def _with_figures(
    row: Row, told: Mapping[str, Mapping[str, float | None]], request: Mapping[str, float | None]
) -> Row:
    own = _own(row) | dict(request)
    later = {**told.get(row.get("selected") or "", {}), **told.get(row["key"], {})}
    found = {
        name: value
        for name, value in later.items()
        if value is not None and own.get(name, row.get(name)) is None
    }
    figures: Row = {name: row.get(name) for name in all_columns()} | own | found
    scores = [
        {"name": name, "value": figures[name]} for name in {**own, **found} if name not in Record.model_fields
    ]
    rescored = row.get("rescored") or tuple(found)
    taken: dict[str, Any] = {"scores": scores or None, "rescored": rescored}
    return {**row, **figures, **taken}
