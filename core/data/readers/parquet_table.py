"""Image tables as the public hubs publish them: Parquet shards of encoded images and integer labels."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from core.data.readers.source import Arrays, Images, Labels, Source, checked_labels, picture
from core.errors import BadInput

IMAGE_COLUMNS = ("img", "image")  # struct{bytes, path}
LABEL_COLUMNS = ("fine_label", "label")  # CIFAR-100 has a coarse label beside the fine one
TRAIN = ("train-*.parquet",)
TEST = ("test-*.parquet", "valid-*.parquet", "validation-*.parquet")  # the first that is there
ROWS = 1024  # encoded images held in memory at a time


@dataclass(frozen=True)
class ParquetTable(Source):
    """Shards of the data set `name` in `<root>/<name>/`, in `data/` below it, or in a root of that name."""

    words: ClassVar[str] = "parquet table"
    revision: ClassVar[int] = 1

    name: str

    def wanted(self) -> tuple[str, ...]:
        """One training shard and one test shard, at least."""
        return tuple(f"{self.name}/{pattern}" for pattern in (*TRAIN, *TEST))

    def by_hand(self) -> str:
        """The two kinds of shards, and who has them."""
        return f"{self.name}/train-*.parquet with {self.name}/test-*.parquet from a hub"

    def find(self, root: Path) -> tuple[Path, ...] | None:
        """The training and test shards of the first folder that holds both, in name order."""
        own = (root,) if root.resolve().name == self.name else ()
        for folder in (root / self.name, root / self.name / "data", *own):
            train, test = _shards(folder, TRAIN), _shards(folder, TEST)
            if train and test:
                return (*train, *test)
        return None

    def read(self, files: tuple[Path, ...], classes: int, pixels: int) -> Arrays:
        """Decode every shard, in the order given."""
        train = [file for file in files if file.name.startswith("train-")]
        test = [file for file in files if file not in train]
        return Arrays(*_split(train, classes, pixels), *_split(test, classes, pixels))


def _shards(folder: Path, patterns: Sequence[str]) -> list[Path]:
    return next((found for pattern in patterns if (found := sorted(folder.glob(pattern)))), [])


def _split(shards: Sequence[Path], classes: int, pixels: int) -> tuple[Images, Labels]:
    _check_complete(shards)
    rows = [_open(shard).metadata.num_rows for shard in shards]
    images = np.empty((sum(rows), 3, pixels, pixels), np.uint8)
    labels = np.empty(sum(rows), np.int64)
    first = 0
    for shard, count in zip(shards, rows, strict=True):
        part = slice(first, first + count)
        labels[part] = checked_labels(_fill(shard, images[part]), classes, shard)
        first += count
    return images, labels


def _check_complete(shards: Sequence[Path]) -> None:
    """A name ending in -00001-of-00003 promises that there are three."""
    for shard in shards:
        promised = re.search(r"-of-(\d+)", shard.name)
        if promised and int(promised[1]) != len(shards):
            raise BadInput(f"{shard} is one of {int(promised[1])} shards, but {len(shards)} are there")


def _open(shard: Path) -> Any:
    try:
        return pq.ParquetFile(shard)
    except (pa.ArrowException, OSError) as error:
        raise BadInput(f"{shard} is not a readable Parquet file ({error})") from error


def _fill(shard: Path, images: Images) -> list[int]:
    """Decode the images of a shard into `images` (rows, 3, H, W); its labels."""
    labels: list[int] = []
    for encoded, label in _rows(shard):
        where = f"{shard} row {len(labels)}"
        if encoded is None or label is None:
            raise BadInput(f"{where}: the image bytes or the label are missing")
        images[len(labels)] = picture(encoded, images.shape[-1], where)
        labels.append(label)
    if len(labels) != len(images):
        raise BadInput(f"{shard} is damaged: it promises {len(images)} rows and holds {len(labels)}")
    return labels


def _rows(shard: Path) -> Iterator[tuple[bytes | None, int | None]]:
    with _open(shard) as file:
        image, label = _columns(file.schema_arrow, shard)
        try:
            for batch in file.iter_batches(batch_size=ROWS, columns=[image, label]):
                encoded = batch.column(image).field("bytes").to_pylist()
                yield from zip(encoded, batch.column(label).to_pylist(), strict=True)
        except (pa.ArrowException, OSError) as error:
            raise BadInput(f"{shard} is damaged ({error})") from error


def _columns(schema: Any, shard: Path) -> tuple[str, str]:
    """The names of the image and the label column."""
    image = next((name for name in IMAGE_COLUMNS if name in schema.names), None)
    label = next((name for name in LABEL_COLUMNS if name in schema.names), None)
    if image is None or label is None:
        raise BadInput(
            f"{shard} has the columns {', '.join(schema.names)}; expected {' or '.join(IMAGE_COLUMNS)}, "
            f"and {' or '.join(LABEL_COLUMNS)}"
        )
    kind = schema.field(image).type
    if not pa.types.is_struct(kind) or kind.get_field_index("bytes") < 0:
        raise BadInput(f"{shard}: the column {image} is {kind}, expected a struct with the field 'bytes'")
    return image, label
