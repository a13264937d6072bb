"""What a file of images to forget names: one entry a line, or a column of a CSV or Parquet table."""

from collections.abc import Sequence
from pathlib import Path

from core.data.readers import table_rows, unreadable
from core.errors import BadInput, unknown

TABLES = (".csv", ".parquet")
# the first that a table has, unless a column is named
COLUMNS = ("file", "file_name", "filename", "path", "image", "name", "row", "id", "sha256")


def list_entries(path: Path, column: str | None = None) -> list[str]:
    """The entries in their order, without empty ones. column: of a table; else the first of `COLUMNS` that it has.

    Raises BadInput, one line, for a file that cannot be read, and for a table without such a column.
    """
    if not path.exists():
        raise BadInput(f"{path} is not there; name a file with one image a line")
    if not path.is_file():  # a device may have no end
        raise BadInput(f"{path} is no file; name one with one image a line")
    if path.suffix.lower() in TABLES:
        found = _column(path, column)
    elif column is None:
        found = _lines(path)
    else:
        raise BadInput(f"{path} is no table (.csv or .parquet); leave forget.column out")
    entries = [entry for text in found if (entry := text.strip())]
    if not entries:
        raise BadInput(f"{path} names no image")
    return entries


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise unreadable(path, error) from error
    except UnicodeDecodeError as error:
        raise BadInput(f"{path} is not text in UTF-8; save it as UTF-8, one image a line") from error


def _column(path: Path, column: str | None) -> list[str]:
    header, rows = table_rows(path)
    at = header.index(_chosen(header, column, path))
    return ["" if len(row) <= at or row[at] is None else str(row[at]) for row in rows]


def _chosen(header: Sequence[str], column: str | None, path: Path) -> str:
    if column is not None:
        if column.lower() not in header:
            raise BadInput(f"{path}: {unknown('column', column, header)}")
        return column.lower()
    found = next((name for name in COLUMNS if name in header), None)
    if found is None:
        raise BadInput(
            f"{path} has the columns {', '.join(header)}; expected {' or '.join(COLUMNS[:2])}, or say"
            " which with forget.column=…"
        )
    return found
