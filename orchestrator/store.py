"""Reading results back: every row of a store, with broken parts repaired on the way."""

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from tasks.record import SCHEMA, Record, from_parquet, to_parquet
from tasks.store import Corrupt, Store

if TYPE_CHECKING:
    import polars as pl

Row = dict[str, Any]


def load_results(store_uri: str) -> "pl.DataFrame":
    """Every row of every part as a frame of the declared schema; an empty one where there is none."""
    import polars as pl

    frame = pl.from_arrow(as_table(read_rows(Store(store_uri))[0]))
    assert isinstance(frame, pl.DataFrame)
    return frame


def as_table(rows: list[Row]) -> pa.Table:
    """Rows as one Arrow table of the declared schema."""
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def read_rows(store: Store, keys: Collection[str] | None = None) -> tuple[list[Row], list[str]]:
    """All rows, or those of the given nodes, and one line for each part that had to be repaired.

    A corrupt part goes to quarantine/; if its node is finished, the part is written again from the node's
    manifest, otherwise the row is gone until the node is computed again.
    """
    parts = {n.removesuffix(".parquet") for n in store.names("parts") if n.endswith(".parquet")}
    finished = store.finished()
    wanted = (parts | finished) if keys is None else (parts | finished).intersection(keys)
    rows, broken = _scan(store, sorted(wanted & parts))
    found = {row["key"]: row for row in rows}
    why = dict.fromkeys(wanted - parts, "is missing") | dict.fromkeys(broken, "is corrupt")
    why |= {
        key: "holds a failure of a node that is finished"
        for key, row in found.items()
        if row["status"] != "done" and key in finished
    }
    warnings = []
    for key in sorted(why):
        row, line = _repaired(store, key, key in finished, why[key], broken.get(key))
        warnings.append(line)
        found.pop(key, None)
        if row is not None:
            found[key] = row
    return [found[key] for key in sorted(found)], warnings


def _scan(store: Store, keys: list[str]) -> tuple[list[Row], dict[str, bytes]]:
    """The rows of parts; what cannot be read as one good row comes back as bytes by key."""
    if not keys:
        return [], {}
    if store.local:
        rows = _scan_at_once([store.path(f"parts/{key}.parquet") for key in keys])
        if rows is not None and [row["key"] for row in rows] == keys:
            return rows, {}
    return _scan_each(store, keys)


def _scan_at_once(paths: list[str]) -> list[Row] | None:
    """All parts through polars, which takes a fraction of a second for thousands; None if that fails."""
    try:
        import polars as pl

        return pl.scan_parquet(paths, glob=False).collect().select(SCHEMA.names).to_dicts()
    except Exception:  # not installed, a corrupt part, one of an older schema: look at each by itself
        return None


def _scan_each(store: Store, keys: list[str]) -> tuple[list[Row], dict[str, bytes]]:
    paths = {key: store.path(f"parts/{key}.parquet") for key in keys}
    contents = store.fs.cat(list(paths.values()), on_error="return")  # one round trip on object stores
    rows, broken = [], {}
    for key in keys:
        data = contents.get(paths[key])
        data = data if isinstance(data, bytes) else b""
        try:
            rows.append(_only_row(key, data))
        except (pa.ArrowException, OSError, ValueError):
            broken[key] = data
    return rows, broken


def _only_row(key: str, data: bytes) -> Row:
    """The row of a part, also of one written by a version with other columns; ValueError if it is not the node's."""
    (row,) = from_parquet(data)
    record = Record.model_validate({name: row[name] for name in SCHEMA.names if name in row})
    if record.key != key:
        raise ValueError(f"row of {record.key}")
    return record.model_dump()


def _repaired(store: Store, key: str, finished: bool, why: str, data: bytes | None) -> tuple[Row | None, str]:
    """The row a finished node's manifest holds, written to its part again; and the line that says so."""
    name, line = f"parts/{key}.parquet", f"{key[:12]}: its part {why}"
    record = _from_manifest(store, key) if finished else None
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
    return None if record is None else record.model_dump(), f"node {line}"


def _from_manifest(store: Store, key: str) -> Record | None:
    try:
        return store.manifest(key).record
    except Corrupt:
        return None
