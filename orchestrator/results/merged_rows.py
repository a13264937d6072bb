"""Merged rows: rows/<SHA-256 of its bytes>.parquet holds rows of finished nodes, in the place of a part each.

A merged row counts as long as its node is finished and has no part; a part is newer. Files are written before
the parts they hold are removed, so a reader that lists the parts first misses nothing.
"""

import hashlib
from collections.abc import Sequence

from orchestrator.results.parquet import Row, as_table, compressed, read_at_once, read_each
from tasks import Newer
from tasks.store import Store

FOLDER = "rows"


class Moved(Exception):
    """A file that was listed is gone: a compaction has put its rows elsewhere. Look again."""


def merged_files(store: Store) -> list[str]:
    """Names of the files with merged rows."""
    return [f"{FOLDER}/{name}" for name in store.names(FOLDER) if name.endswith(".parquet")]


def read_merged(store: Store, moving: bool = True) -> tuple[dict[str, Row], list[str]]:
    """The merged rows by key, and a line for each file that is corrupt, which goes to quarantine/.

    moving: raise Moved for a file that is listed but gone, instead of passing it over.
    """
    found: dict[str, Row] = {}
    lines, doubted = [], set()
    for name, data in store.get_many(merged_files(store)).items():
        if data is None and moving and not store.exists(name):
            raise Moved(name)
        if data is None:
            if store.exists(name):  # a link, or a folder
                lines.append(_set_aside(store, name))
            continue
        rows = _rows(data) if name == _name(data) else None
        if rows is None:
            lines.append(_set_aside(store, name))
        for row in rows or ():
            if found.setdefault(row["key"], row) != row:
                doubted.add(row["key"])
    # of two files that disagree one is an older copy: their nodes' manifests know
    return {key: row for key, row in found.items() if key not in doubted}, lines


def write_merged(store: Store, rows: Sequence[Row]) -> str:
    """Writes rows as one file, named by its contents; returns the name."""
    data = compressed(as_table(rows))
    name = _name(data)
    if not store.exists(name):
        store.put(name, data)
    return name


def _rows(data: bytes) -> list[Row] | None:
    rows = read_at_once([data])
    if rows is not None:
        return rows
    try:
        return read_each(data)
    except Newer:
        raise
    except ValueError:
        return None


def _name(data: bytes) -> str:
    return f"{FOLDER}/{hashlib.sha256(data).hexdigest()}.parquet"


def _set_aside(store: Store, name: str) -> str:
    line = f"{name} is corrupt: its rows are taken from the nodes' manifests"
    try:
        store.set_aside(name)
    except OSError as error:
        return f"{line}; the store cannot be repaired ({error.strerror or error})"
    return f"{line}, and the file has moved to quarantine/"
