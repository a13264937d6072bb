"""Rows as Parquet: many at once, of any version of the schema."""

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from tasks import SCHEMA, Record, from_parquet, refuse_newer

if TYPE_CHECKING:
    import polars as pl

Row = dict[str, Any]


def as_table(rows: Sequence[Row], schema: pa.Schema = SCHEMA) -> pa.Table:
    """Rows as one Arrow table of a schema, the declared one by default.

    Through polars where it is installed: pyarrow loads pandas before it looks at the first Python value.
    """
    if not rows:
        return pa.Table.from_batches([], schema)
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


def read_at_once(sources: list[str] | io.BytesIO) -> list[Row] | None:
    """The rows of local files, or of one in memory, through polars; None if that fails for any of them.

    It takes a fraction of a second for thousands of files. A column that a file does not have is None in its
    rows, and one that only a later version knows is left out.
    """
    try:
        import polars as pl

        scan = pl.scan_parquet(
            sources, schema=_types(SCHEMA), glob=False, missing_columns="insert", extra_columns="ignore"
        )
        return scan.collect().to_dicts()
    except Exception:  # not installed, or a file is corrupt: whoever asks looks at each by itself
        return None


def _types(schema: pa.Schema) -> "pl.Schema":
    """The same columns for polars. Of no batches, since an empty column is a Python value to pyarrow, too."""
    import polars as pl

    empty = pl.from_arrow(pa.Table.from_batches([], schema))
    assert isinstance(empty, pl.DataFrame)
    return empty.schema


def read_each(data: bytes) -> list[Row]:
    """The rows of one file, each checked; ValueError or pyarrow.ArrowException for what holds no rows.

    Raises Newer for a row of a later schema.
    """
    return [_checked(row) for row in from_parquet(data)]


def _checked(row: Row) -> Row:
    refuse_newer(row.get("schema_version"), f"node {str(row.get('key'))[:12]}")
    return Record.model_validate({name: row[name] for name in SCHEMA.names if name in row}).model_dump()
