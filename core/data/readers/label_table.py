"""A table of labels beside the images it speaks of: which file shows what, and to which split it belongs."""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from core.data.readers.picture_list import TESTS, TRAIN, Listed, PictureList, SplitName
from core.data.readers.source import unreadable
from core.errors import BadInput, unknown

TABLES = ("labels.csv", "labels.parquet", "metadata.csv", "metadata.parquet")  # the latter is the hubs' name
FILE, LABEL, SPLIT = ("file", "file_name", "filename", "path", "image"), ("label", "class"), ("split",)

_Row = tuple[int, str, str, str | None]  # number of the row from 1, file, label, split


def table_in(base: Path) -> Path | None:
    """The table of labels in a folder, if there is one."""
    return next((base / name for name in TABLES if (base / name).is_file()), None)


def by_table(base: Path, table: Path) -> PictureList:
    """The images that the table names, paths relative to `base`, in its order.

    The split is that of the column `split`, else of a first folder called train, test, val …, else train.
    Raises BadInput naming the row for what cannot be meant.
    """
    found = PictureList(table=table)
    rows = [(Path(file), _split(table, row, file, split), label) for row, file, label, split in _rows(table)]
    tests = {split for _, split, _ in rows} - {TRAIN}
    test = next((name for name in TESTS if name in tests), None)
    for file, split, label in rows:
        if split in (TRAIN, test):
            part: SplitName = "train" if split == TRAIN else "test"
            found.images.append(Listed(base / file, label, part))
        else:
            found.left_out[f"in {split}, as {test} is the test split"] += 1
    return found


def _split(table: Path, row: int, file: str, split: str | None) -> str:
    """The name of a row's split."""
    path = PurePosixPath(file)
    if path.is_absolute() or ".." in path.parts or "\0" in file or not file:
        raise BadInput(f"{table} row {row}: '{file}' is no file below {table.parent}")
    if split is None:
        first = path.parts[0].lower()
        return first if first in TESTS else TRAIN
    named = {"training": TRAIN, "dev": "validation"}.get(split.lower(), split.lower())
    if named not in (TRAIN, *TESTS):
        raise BadInput(f"{table} row {row}: {unknown('split', split, (TRAIN, *TESTS))}")
    return named


def _rows(table: Path) -> Iterator[_Row]:
    header, rows = table_rows(table)
    file, label = _column(header, FILE, table), _column(header, LABEL, table)
    split = next((header.index(name) for name in SPLIT if name in header), None)
    for number, row in enumerate(rows, start=1):
        if len(row) != len(header):
            raise BadInput(f"{table} row {number}: {len(row)} values under {len(header)} names")
        if any(row[column] in ("", None) for column in (file, label)):
            raise BadInput(f"{table} row {number}: the file or the label is missing")
        yield number, str(row[file]), str(row[label]), None if split is None else str(row[split] or TRAIN)


def _column(header: Sequence[str], names: Sequence[str], table: Path) -> int:
    for name in names:
        if name in header:
            return header.index(name)
    raise BadInput(f"{table} has the columns {', '.join(header)}; expected {names[0]} among them")


def table_rows(table: Path) -> tuple[list[str], list[Sequence[Any]]]:
    """Names of columns, in small letters, and the rows of a .parquet or CSV file. Raises BadInput."""
    return _parquet(table) if table.suffix.lower() == ".parquet" else _csv(table)


def _csv(table: Path) -> tuple[list[str], list[Sequence[Any]]]:
    """A spreadsheet may have put a mark before the first name."""
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            rows = [row for row in csv.reader(file) if row]
    except OSError as error:
        raise unreadable(table, error) from error
    except (csv.Error, UnicodeDecodeError) as error:
        raise BadInput(f"{table} is not a table with commas in UTF-8 ({error})") from error
    header = [name.strip().lower() for name in rows[0]] if rows else []
    return header, [*rows[1:]]


def _parquet(table: Path) -> tuple[list[str], list[Sequence[Any]]]:
    try:
        content = pq.read_table(table)
    except (pa.ArrowException, OSError) as error:
        raise BadInput(f"{table} is not a readable Parquet file ({error})") from error
    return [name.lower() for name in content.column_names], [
        tuple(row.values()) for row in content.to_pylist()
    ]
