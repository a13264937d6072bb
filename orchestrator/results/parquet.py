"""Rows as Parquet: many at once, of any version of the schema."""

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from core.metrics import FIGURES
from tasks import REVISIONS, SCHEMA, Record, from_parquet, refuse_newer

if TYPE_CHECKING:
    import polars as pl

Row = dict[str, Any]


def as_table(rows: Sequence[Row], schema: pa.Schema = SCHEMA) -> pa.Table:
    """Rows as one Arrow table of a schema, the declared one by default.

    Through polars where it is installed: pyarrow loads pandas before it looks at the first Python value.
    """
    try:
        import polars as pl
    except ModuleNotFoundError:
        return pa.Table.from_pylist(rows, schema=schema)
    return pl.DataFrame(rows, schema=_types(schema)).to_arrow().cast(schema)


def compressed(table: pa.Table) -> bytes:
    """A table as one Parquet file."""
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd", write_page_checksum=True)
    return buffer.getvalue()


def read_at_once(files: Sequence[bytes]) -> list[Row] | None:
    """The rows of files whose digests are right, through polars; None if that fails for any of them.

    It takes a fraction of a second for thousands of files. A column that a file does not have is None in its
    rows, and one that only a later version knows is left out.
    """
    try:
        import polars as pl

        scan = pl.scan_parquet(
            list(files), schema=_types(SCHEMA), glob=False, missing_columns="insert", extra_columns="ignore"
        )
        rows = scan.collect().to_dicts()
    except (KeyboardInterrupt, SystemExit):
        raise
    except (
        BaseException
    ):  # not installed, or a file is corrupt, at which it may also panic: look at each by itself
        return None
    return rows if all(map(sound, rows)) else None


def _types(schema: pa.Schema) -> "pl.Schema":
    """The same columns for polars. Of no batches, since an empty column is a Python value to pyarrow, too."""
    import polars as pl

    empty = pl.from_arrow(pa.Table.from_batches([], schema))
    assert isinstance(empty, pl.DataFrame)
    return empty.schema


def read_each(data: bytes) -> list[Row]:
    """The rows of one file, each checked; ValueError for what holds no rows, or other ones than were written.

    Raises Newer for a row of a later schema.
    """
    return [_checked(row) for row in from_parquet(data)]


def _checked(row: Row) -> Row:
    refuse_newer(row.get("schema_version"), f"node {str(row.get('key'))[:12]}")
    found = Record.model_validate({name: row[name] for name in SCHEMA.names if name in row}).model_dump()
    if not sound(found):
        raise ValueError("its row is none of a finished or failed node")
    return found


def sound(row: Row) -> bool:
    """Whether a row has what every reader counts on: a kind, an end, and for a finished measurement its figures."""
    if row["kind"] not in REVISIONS or row["status"] not in ("done", "failed"):
        return False
    measured = row["status"] == "done" and row["kind"] in ("evaluate", "select")
    return not measured or all(row[name] is not None for name in FIGURES)
