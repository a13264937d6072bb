"""Reading results back: every row of a store, with broken parts repaired on the way."""

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from orchestrator.results.figures import wide_schema, with_figures
from orchestrator.results.merged_rows import Moved, read_merged
from orchestrator.results.parquet import Row, as_table, read_at_once, read_each
from tasks import Newer, Record, refuse_newer
from tasks.store import Store, fingerprint

if TYPE_CHECKING:
    import polars as pl

OTHER_ROW = "holds another row than its manifest"
_CIRCUMSTANCES = {
    "seconds", "node_seconds", "finished_at", "hardware", "code_revision", "versions", "peak_memory", "gpu_share",
    "precision", "schema_version", "curve",
}  # fmt: skip
_LOOKS = 8  # how often a store is read again because a compaction has moved its rows meanwhile


def load_results(store_uri: str) -> "pl.DataFrame":
    """Every row of a store as a frame of the declared schema, one row per finished or failed node.

    The columns are the fields of `tasks.record.Record`, which says what each means: accuracies and gaps in percent
    (Float64), keys, names and JSON as text (String), counts as Int64, `finished_at` in UTC, `candidates` and `curve`
    as lists of structs; in the place of `scores` a column (Float64) for each metric of `core.metrics.METRICS`, and for
    each fact that a method here told of a request (`Method.facts`: `affected_shards`, `first_slice`, …). What a row
    lacks and the verb `score` has measured since stands in the row, and in one of its own of kind `score`.
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

    A corrupt part goes to quarantine/. It is written again from the manifest of a node that is finished, or from the
    failure of one that has failed; else the row is gone until the node is computed again, and so it is where part
    and manifest are whole but hold different figures. Raises Newer for a row of a later schema.
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
    finished, failed = store.finished(), store.failed()
    parts = store.parts()
    merged, lines = read_merged(store, moving)
    there = parts | finished | failed
    wanted = there if keys is None else there.intersection(keys)
    rows, broken = _scan(store, sorted(wanted & parts), finished, moving)
    found = {key: merged[key] for key in wanted - parts if key in merged} | {row["key"]: row for row in rows}
    why = dict.fromkeys(wanted - parts - merged.keys(), "is missing") | broken
    refuse_newer(max((row["schema_version"] or 0 for row in found.values()), default=0), f"store {store.uri}")
    why |= {
        key: "holds a failure of a node that is finished"
        for key, row in found.items()
        if row["status"] != "done" and key in finished
    }
    known = _known_otherwise(store, finished, failed, why)
    # the line of a corrupt merged file speaks for all its rows
    told = {key for key, reason in why.items() if lines and reason == "is missing"}
    for key in sorted(why):
        line = _repaired(store, key, known.get(key), why[key])
        if key not in told:
            lines.append(line)
        found.pop(key, None)
        if key in known:
            found[key] = known[key].model_dump()
    return [found[key] for key in sorted(found)], lines


def _known_otherwise(
    store: Store, finished: Collection[str], failed: Collection[str], why: Mapping[str, str]
) -> dict[str, Record]:
    """The rows that manifests and failures hold of nodes whose parts are of no use."""
    wanted = {key for key, reason in why.items() if reason != OTHER_ROW}
    found = store.failures() if wanted.intersection(failed) else {}
    manifests = store.manifests(sorted(wanted.intersection(finished)), broken={})
    known = {key: record for key, record in found.items() if key in wanted and key not in finished}
    return known | {key: manifest.record for key, manifest in manifests.items()}


def _scan(
    store: Store, keys: list[str], finished: Collection[str], moving: bool
) -> tuple[list[Row], dict[str, str]]:
    """The rows of parts, and why of the others by key.

    A part that is what its node's manifest names is read with all others like it, every other one by itself.
    """
    contents = _contents(store, keys, moving)
    named = store.parts_named(key for key in keys if key in finished)
    good = [key for key in keys if named.get(key) == fingerprint(contents[key] or b"")]
    rows = read_at_once([contents[key] or b"" for key in good])
    if rows is None or [row["key"] for row in rows] != good:
        good, rows = [], []
    each, broken = _scan_each({key: contents[key] for key in keys if key not in set(good)})
    doubted = _doubted(store, {row["key"]: row for row in each if row["key"] in named}, contents)
    return [*rows, *(row for row in each if row["key"] not in doubted)], broken | doubted


def _contents(store: Store, keys: list[str], moving: bool) -> dict[str, bytes | None]:
    """The bytes of parts; None for one that is there but no plain file."""
    names = {key: f"parts/{key}.parquet" for key in keys}
    contents = store.get_many(names.values())  # one round trip on object stores
    for name, data in contents.items():
        if data is None and moving and not store.exists(name):
            raise Moved(name)
    return {key: contents[name] for key, name in names.items()}


def _scan_each(contents: dict[str, bytes | None]) -> tuple[list[Row], dict[str, str]]:
    """Parts one by one."""
    rows, broken = [], {}
    for key, data in contents.items():
        try:
            rows.append(_only_row(key, data or b""))
        except Newer:
            raise
        except ValueError:
            broken[key] = "is corrupt"
    return rows, broken


def _doubted(store: Store, rows: Mapping[str, Row], contents: Mapping[str, bytes | None]) -> dict[str, str]:
    """Why readable parts of finished nodes are not their manifests', in files that agree with themselves.

    Where the two hold different figures, one of them is an older copy, and nobody can say which.
    """
    found = {}
    done = [key for key, row in rows.items() if row["status"] == "done"]  # a failure is told as one
    for key, manifest in store.manifests(done, broken={}).items():
        if _figures(manifest.record.model_dump()) != _figures(rows[key]):
            found[key] = OTHER_ROW
        elif manifest.part not in (None, fingerprint(contents[key] or b"")):
            found[key] = "is not the one that its manifest names"
    return found


def _figures(row: Row) -> Row:
    """What another worker at the same node finds, too."""
    return {name: value for name, value in row.items() if name not in _CIRCUMSTANCES}


def _only_row(key: str, data: bytes) -> Row:
    """The row of a part, also of one written by a version with other columns; ValueError if it is not the node's."""
    (row,) = read_each(data)
    if row["key"] != key:
        raise ValueError(f"row of {row['key']}")
    return row


def _repaired(store: Store, key: str, record: Record | None, why: str) -> str:
    """Writes the row that a finished node's manifest holds to its part again; returns the line that says so."""
    name, line = f"parts/{key}.parquet", f"{key[:12]}: its part {why}"
    try:
        if why == OTHER_ROW:
            store.quarantine(key)
            line += ", both moved to quarantine/"
        elif store.exists(name):
            store.set_aside(name)
            line += ", moved to quarantine/"
        if record is None:
            line += "; its row is gone until the node is computed again"
        else:
            store.restore_part(key, record)
            line += f"; written again from its {'failure' if record.status == 'failed' else 'manifest'}"
    except OSError as error:
        line += f"; the store cannot be repaired ({error.strerror or error})"
    return f"node {line}"
