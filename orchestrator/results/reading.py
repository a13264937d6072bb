"""Reading results back: every row of a store, with broken parts repaired on the way."""

from collections.abc import Collection
from typing import TYPE_CHECKING

import pyarrow as pa

from orchestrator.results.figures import wide_schema, with_figures
from orchestrator.results.merged_rows import Moved, read_merged
from orchestrator.results.parquet import Row, as_table, read_at_once, read_each
from tasks import Newer, Record, refuse_newer, to_parquet
from tasks.store import Store

if TYPE_CHECKING:
    import polars as pl

_LOOKS = 8  # how often a store is read again because a compaction has moved its rows meanwhile


def load_results(store_uri: str) -> "pl.DataFrame":
    """Every row of a store as a frame of the declared schema, one row per finished or failed node.

    The columns are the fields of `tasks.record.Record`, which says what each means: accuracies and gaps in percent
    (Float64), keys, names and JSON as text (String), counts as Int64, `finished_at` in UTC, `candidates` and `curve`
    as lists of structs; in the place of `scores` a column (Float64) for each metric of `core.metrics.METRICS`. What
    a row lacks and the verb `score` has measured since stands in the row, and in one of its own of kind `score`.
    A store without rows, or that is not there, gives a frame of the same schema without rows.
    Raises Newer (a BadInput) for rows of a later version.

    Rows of other grids that ran here are among them, and rows that an older revision of a stage or method made.
    In report/results.parquet, which the last report wrote, `superseded_by` tells the older ones: it is the key of
    the node that takes their place, and null in every other row.
    """
    import polars as pl

    rows = measured_rows(Store(store_uri))[0]
    frame = pl.from_arrow(as_table(rows, wide_schema(rows)))
    assert isinstance(frame, pl.DataFrame)
    return frame


def measured_rows(store: Store, keys: Collection[str] | None = None) -> tuple[list[Row], list[str]]:
    """`read_rows` with a column for each metric, and in them what scores have measured since."""
    if keys is None:
        rows, lines = read_rows(store)
        return with_figures(rows), lines
    about = (score for key, scores in store.scores().items() if key in keys for score in scores)
    rows, lines = read_rows(store, {*keys, *about})
    return [row for row in with_figures(rows) if row["key"] in keys], lines


def read_rows(store: Store, keys: Collection[str] | None = None) -> tuple[list[Row], list[str]]:
    """All rows as nodes left them, or those of the given nodes, and one line for each part that had to be repaired.

    A corrupt part goes to quarantine/; if its node is finished, the part is written again from the node's
    manifest, otherwise the row is gone until the node is computed again. Raises Newer for a row of a later schema.
    """
    for _ in range(_LOOKS):
        try:
            return _read_rows(store, keys)
        except Moved:
            continue
    return _read_rows(store, keys, moving=False)


def _read_rows(
    store: Store, keys: Collection[str] | None, moving: bool = True
) -> tuple[list[Row], list[str]]:
    """moving: raise Moved for a file that is listed but gone, instead of taking it for a broken one."""
    # In this order: a node has its row before it is finished, and a merged row before its part is removed.
    finished = store.finished()
    parts = {n.removesuffix(".parquet") for n in store.names("parts") if n.endswith(".parquet")}
    merged, lines = read_merged(store, moving)
    wanted = (parts | finished) if keys is None else (parts | finished).intersection(keys)
    rows, broken = _scan(store, sorted(wanted & parts), moving)
    found = {key: merged[key] for key in wanted - parts if key in merged} | {row["key"]: row for row in rows}
    why = dict.fromkeys(wanted - parts - merged.keys(), "is missing") | dict.fromkeys(broken, "is corrupt")
    refuse_newer(max((row["schema_version"] or 0 for row in found.values()), default=0), f"store {store.uri}")
    why |= {
        key: "holds a failure of a node that is finished"
        for key, row in found.items()
        if row["status"] != "done" and key in finished
    }
    manifests = store.manifests(sorted(finished.intersection(why)), broken={})
    # the line of a corrupt merged file speaks for all its rows
    told = {key for key, reason in why.items() if lines and reason == "is missing"}
    for key in sorted(why):
        record = manifests[key].record if key in manifests else None
        line = _repaired(store, key, record, why[key], broken.get(key))
        if key not in told:
            lines.append(line)
        found.pop(key, None)
        if record is not None:
            found[key] = record.model_dump()
    return [found[key] for key in sorted(found)], lines


def _scan(store: Store, keys: list[str], moving: bool) -> tuple[list[Row], dict[str, bytes]]:
    """The rows of parts; what cannot be read as one good row comes back as bytes by key."""
    if not keys:
        return [], {}
    if store.local:
        rows = read_at_once([store.path(f"parts/{key}.parquet") for key in keys])
        if rows is not None and [row["key"] for row in rows] == keys:
            return rows, {}
    return _scan_each(store, keys, moving)


def _scan_each(store: Store, keys: list[str], moving: bool) -> tuple[list[Row], dict[str, bytes]]:
    names = {key: f"parts/{key}.parquet" for key in keys}
    contents = store.get_many(names.values())  # one round trip on object stores
    rows, broken = [], {}
    for key, name in names.items():
        data = contents[name]
        if data is None and moving:
            raise Moved(name)
        try:
            rows.append(_only_row(key, data or b""))
        except Newer:
            raise
        except (pa.ArrowException, OSError, ValueError):
            broken[key] = data or b""
    return rows, broken


def _only_row(key: str, data: bytes) -> Row:
    """The row of a part, also of one written by a version with other columns; ValueError if it is not the node's."""
    (row,) = read_each(data)
    if row["key"] != key:
        raise ValueError(f"row of {row['key']}")
    return row


def _repaired(store: Store, key: str, record: Record | None, why: str, data: bytes | None) -> str:
    """Writes the row that a finished node's manifest holds to its part again; returns the line that says so."""
    name, line = f"parts/{key}.parquet", f"{key[:12]}: its part {why}"
    try:
        if data is not None:
            store.put(f"quarantine/{name}", data)
            line += ", moved to quarantine/"
        if record is None:
            store.remove(name)
            line += "; its row is gone until the node is computed again"
        else:
            store.put(name, to_parquet(record))
            line += "; written again from its manifest"
    except OSError as error:
        line += f"; the store cannot be repaired ({error.strerror or error})"
    return f"node {line}"
