"""Image tables as the public hubs publish them: Parquet shards of encoded images and their labels."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from core.data.readers import shards
from core.data.readers.class_numbers import as_text, class_numbers, whole_numbers
from core.data.readers.pictures import picture, said, square
from core.data.readers.source import Arrays, Images, Labels, Names, Source, checked_labels, empty_images
from core.data.readers.table_columns import PATH, Columns, columns, name_column
from core.errors import BadInput

ROWS = 1024  # encoded images held in memory at a time


@dataclass(frozen=True)
class ParquetTable(Source):
    """Shards of the data set `name` where `shards.places` looks for them; without test shards it has no test split.

    Labels may be numbers or words. Of a known data set, images have its size and numbers are its classes; of any
    other, images are made squares and its labels numbered in order.
    """

    words: ClassVar[str] = "parquet table"
    may_lack_test: ClassVar[bool] = True
    revision: ClassVar[int] = 1

    name: str

    def wanted(self) -> tuple[str, ...]:
        """One training shard and one test shard, at least."""
        return tuple(f"{self.name}/{pattern}" for pattern in ("train-*.parquet", "test-*.parquet"))

    def by_hand(self) -> str:
        """The two kinds of shards, and who has them."""
        return f"{self.name}/train-*.parquet with {self.name}/test-*.parquet from a hub"

    def find(self, root: Path) -> tuple[Path, ...] | None:
        """The training and test shards of the first folder that holds both, else any training shards, in name order."""
        found = [shards.split_shards(place) for place in shards.places(root, self.name)]
        whole = [(*train, *test) for train, test in found if train and test]
        untested = [tuple(train) for train, _ in found if train]
        return next(iter(whole or untested), None)

    def names(self, files: tuple[Path, ...], root: Path) -> Names | None:  # noqa: ARG002  rows are no files
        """The values of a column of names, or the paths beside the images' bytes, where every shard has them."""
        found = {file: _called(file) for file in files}
        train = [name for file in files if shards.trains(file) for name in found[file]]
        test = [name for file in files if not shards.trains(file) for name in found[file]]
        return (train, test) if any((*train, *test)) else None

    def encoded(self, files: tuple[Path, ...]) -> Iterator[bytes]:
        """The images' bytes."""
        ordered = sorted(files, key=lambda file: not shards.trains(file))
        return (encoded or b"" for file in ordered for encoded, _ in _rows(file))

    def read(self, files: tuple[Path, ...], classes: int, pixels: int) -> Arrays:
        """Decode every shard, in the order given."""
        done: Counter[str] = Counter()
        train = [file for file in files if shards.trains(file)]
        test = [file for file in files if not shards.trains(file)]
        images, words = _split(train, classes, pixels, done)
        test_images, test_words = _split(test, classes, pixels, done)
        labels, test_labels, order = _numbered(words, test_words, classes)
        mapping = "; ".join(dict.fromkeys(_seen(file).text for file in files))
        folder = "" if files[0].parent.name == self.name else f"in {files[0].parent.name}/, "
        said_of_labels = f"{folder}{mapping}{order}"
        return Arrays(images, labels, test_images, test_labels, said_of_labels, said(done))


# labels of a shard by its path: numbers of a known data set are checked against the file that they come from
_Words = dict[Path, list[str]]


def _split(files: Sequence[Path], classes: int, pixels: int, done: Counter[str]) -> tuple[Images, _Words]:
    shards.check_complete(files)
    rows = [_open(file).metadata.num_rows for file in files]
    images = empty_images(sum(rows), pixels, files[0] if files else "")
    words: _Words = {}
    first = 0
    for file, count in zip(files, rows, strict=True):
        words[file] = as_text(_fill(file, images[first : first + count], bool(classes), done), file)
        first += count
    return images, words


def _numbered(train: _Words, test: _Words, classes: int) -> tuple[Labels, Labels, str]:
    """Labels of both splits, and how words became numbers, to be said."""
    numeric = [whole_numbers(words) is not None for words in (*train.values(), *test.values())]
    if classes and all(numeric):
        return _checked(train, classes), _checked(test, classes), ""
    if any(numeric) and not all(numeric):
        raise BadInput(
            f"{_odd(train, test)}: its labels are not of the kind, numbers or words, of the other shards'"
        )
    numbers = class_numbers(word for words in train.values() for word in words)
    if classes and len(numbers) != classes:
        raise BadInput(f"{next(iter(train))} and its like name {len(numbers)} classes, expected {classes}")
    names = list(numbers)
    plain = names == [str(number) for number in range(len(names))]
    order = "" if plain else f", {names[0]} to {names[-1]} numbered 0 to {len(names) - 1}"
    return _looked_up(train, numbers), _looked_up(test, numbers), order if names else ""


def _odd(train: _Words, test: _Words) -> Path:
    """The first shard whose labels are of another kind than the first one's."""
    kinds = {file: whole_numbers(words) is None for file, words in (train | test).items()}
    return next(file for file, kind in kinds.items() if kind != next(iter(kinds.values())))


def _checked(words: _Words, classes: int) -> Labels:
    found = [
        checked_labels([int(label) for label in labels], classes, file) for file, labels in words.items()
    ]
    return np.concatenate([np.empty(0, np.int64), *found])


def _looked_up(words: _Words, numbers: dict[str, int]) -> Labels:
    for file, labels in words.items():
        for row, label in enumerate(labels):
            if label not in numbers:
                raise BadInput(f"{file} row {row}: '{label}' is a class without training images")
    found = [numbers[label] for labels in words.values() for label in labels]
    return np.array(found, dtype=np.int64)


def _open(shard: Path) -> Any:
    try:
        return pq.ParquetFile(shard)
    except (pa.ArrowException, OSError) as error:
        raise BadInput(f"{shard} is not a readable Parquet file ({error})") from error


def _fill(shard: Path, images: Images, known: bool, done: Counter[str]) -> list[Any]:
    """Decode the images of a shard into `images` (rows, 3, H, W); its labels. known: they have that size already."""
    labels: list[Any] = []
    for encoded, label in _rows(shard):
        where = f"{shard} row {len(labels)}"
        if encoded is None or label is None:
            raise BadInput(f"{where}: the image bytes or the label are missing")
        pixels = images.shape[-1]
        images[len(labels)] = (
            picture(encoded, pixels, where) if known else square(encoded, pixels, where, done)
        )
        labels.append(label)
    if len(labels) != len(images):
        raise BadInput(f"{shard} is damaged: it promises {len(images)} rows and holds {len(labels)}")
    return labels


def _called(shard: Path) -> list[str]:
    """What the images of a shard are called, by row; empty for one without a name."""
    with _open(shard) as file:
        found, rows = name_column(file.schema_arrow, shard), file.metadata.num_rows
        if found is None:
            return [""] * rows
        column, nested = found
        try:
            values = file.read([f"{column}.{PATH}" if nested else column]).column(column).to_pylist()
        except (pa.ArrowException, OSError) as error:
            raise BadInput(f"{shard} is damaged ({error})") from error
    return [_text(value.get(PATH) if nested and value else value) for value in values]


def _text(value: Any) -> str:
    return "" if value is None else str(value)


def _rows(shard: Path) -> Iterator[tuple[bytes | None, Any]]:
    with _open(shard) as file:
        seen = columns(file.schema_arrow, shard)
        try:
            for batch in file.iter_batches(batch_size=ROWS, columns=[seen.image, seen.label]):
                image = batch.column(seen.image)
                encoded = (image.field("bytes") if seen.nested else image).to_pylist()
                yield from zip(encoded, batch.column(seen.label).to_pylist(), strict=True)
        except (pa.ArrowException, OSError) as error:
            raise BadInput(f"{shard} is damaged ({error})") from error


def _seen(shard: Path) -> Columns:
    with _open(shard) as file:
        return columns(file.schema_arrow, shard)
