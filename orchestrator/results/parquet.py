"""Rows as Parquet: many at once, of any version of the schema."""

import io
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tasks import SCHEMA, Record, from_parquet, refuse_newer

Row = dict[str, Any]


def as_table(rows: Sequence[Row]) -> pa.Table:
    """Rows as one Arrow table of the declared schema."""
    return pa.Table.from_pylist(rows, schema=SCHEMA)


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

        declared = pl.from_arrow(SCHEMA.empty_table())
        assert isinstance(declared, pl.DataFrame)
        scan = pl.scan_parquet(
            sources, schema=declared.schema, glob=False, missing_columns="insert", extra_columns="ignore"
        )
        return scan.collect().to_dicts()
    except Exception:  # not installed, or a file is corrupt: whoever asks looks at each by itself
        return None


def read_each(data: bytes) -> list[Row]:
    """The rows of one file, each checked; ValueError or pyarrow.ArrowException for what holds no rows.

    Raises Newer for a row of a later schema.
    """
    return [_checked(row) for row in from_parquet(data)]


def _checked(row: Row) -> Row:
    refuse_newer(row.get("schema_version"), f"node {str(row.get('key'))[:12]}")
    return Record.model_validate({name: row[name] for name in SCHEMA.names if name in row}).model_dump()
