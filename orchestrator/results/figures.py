"""Rows with a column for each metric, whether the node measured it or a score did later."""

from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow as pa

from core.metrics import FIGURES, all_columns
from orchestrator.results.parquet import Row
from tasks import DECIDED_ALIKE, SCHEMA, Record

SCORE, EXPORT = "score", "evaluate_export"  # the kinds of rows that fill others


def with_figures(rows: Iterable[Row]) -> list[Row]:
    """The rows, each with a column for every registered metric and for whatever else it has a figure of.

    An evaluation or selection that lacks a figure takes it from the scores among the rows that are about it; of a
    selection also from those about the evaluation that it chose. `rescored` names what it took. A second time changes
    nothing.
    """
    everything = list(rows)
    told = _told(everything)
    return [_with_figures(row, told) for row in everything]


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


def _exported(row: Row) -> dict[str, float | None]:
    """What the exported network's own row says, as columns beside the fake-quantized figures."""
    figures = {f"{name}_exported": row[name] for name in FIGURES}
    return figures | {DECIDED_ALIKE: _own(row).get(DECIDED_ALIKE)}


def _with_figures(row: Row, told: Mapping[str, Mapping[str, float | None]]) -> Row:
    own = _own(row)
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
