"""Any folder of images: a folder for each split, in it one for each class, or a table that says what they show."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from core.data.readers.class_numbers import class_numbers
from core.data.readers.label_table import by_table, table_in
from core.data.readers.picture_list import Listed, PictureList, by_folders, lacks_train
from core.data.readers.pictures import said, square
from core.data.readers.source import Arrays, Images, Labels, Names, Source, blob, empty_images
from core.errors import BadInput

MOST_NAMED = 5  # classes in a remark


@dataclass(frozen=True)
class ImageFolder(Source):
    """`<root>/<name>/train/<class>/…` and `<root>/<name>/test/<class>/…`, images of any size that Pillow reads.

    Classes are the folders under train, numbered in sorted order. Without a test folder, and also where the classes'
    folders lie directly in `<name>`, there is no test split. `<name>/labels.csv` (columns file, label, and split if
    one likes) says of every image what it shows instead. Of several test splits the first of `TESTS` is read.
    """

    words: ClassVar[str] = "image folder"
    may_lack_test: ClassVar[bool] = True
    revision: ClassVar[int] = 2

    name: str

    def wanted(self) -> tuple[str, ...]:
        """Both folders, and the table in their place."""
        return (*(f"{self.name}/{split}/<class>/" for split in ("train", "test")), f"{self.name}/labels.csv")

    def by_hand(self) -> str:
        """Both folders."""
        return " and ".join(f"{self.name}/{split}/<class>/" for split in ("train", "test"))

    def find(self, root: Path) -> tuple[Path, ...] | None:
        """The folder, the table if there is one, and every image: any of them may change."""
        base = root / self.name
        if not base.is_dir() or (table_in(base) is None and lacks_train(base)):
            return None
        found = _listed(base)
        return (base, *filter(None, [found.table]), *(image.path for image in found.images))

    def notice(self, files: tuple[Path, ...]) -> tuple[str, ...]:
        """How many files are left out, in one line."""
        return _listed(files[0]).remarks()

    def names(self, files: tuple[Path, ...], root: Path) -> Names:
        """The images' paths."""
        found = _listed(files[0])
        train, test = ([_below(image.path, root) for image in found.of(split)] for split in ("train", "test"))
        return train, test

    def encoded(self, files: tuple[Path, ...]) -> Iterator[bytes]:
        """The images' files."""
        found = _listed(files[0])
        return (blob(image.path) for image in (*found.of("train"), *found.of("test")))

    def read(self, files: tuple[Path, ...], classes: int, pixels: int) -> Arrays:  # noqa: ARG002  as many as there are
        """Decode every image: upright, cropped in its centre to a square, made `pixels` wide by bilinear filtering."""
        base = files[0]
        found = _listed(base)
        if found.empty:
            raise BadInput(f"{found.empty[0]} holds no image")
        train, test = found.of("train"), found.of("test")
        if not train:
            raise BadInput(f"{base} holds no training images: expected train/<class>/ with images in it")
        numbers = _numbers({image.label for image in train}, by_name=found.table is None)
        done: Counter[str] = Counter()
        parts = (*_split(train, numbers, pixels, done), *_split(test, numbers, pixels, done))
        remarks = (*said(done), *_untested(test, numbers))
        return Arrays(*parts, mapping=f"labels in {found.table.name}" if found.table else "", remarks=remarks)


def _listed(base: Path) -> PictureList:
    table = table_in(base)
    return by_table(base, table) if table else by_folders(base)


def _below(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix()


def _numbers(labels: set[str], *, by_name: bool) -> dict[str, int]:
    """Folders are numbered by their names, 10 before 2, as everybody numbers them; labels of a table as meant."""
    if by_name:
        return {label: number for number, label in enumerate(sorted(labels))}
    return class_numbers(labels)


def _split(
    images: Sequence[Listed], numbers: dict[str, int], pixels: int, done: Counter[str]
) -> tuple[Images, Labels]:
    for image in images:
        if image.label not in numbers:
            raise BadInput(f"{image.path}: '{image.label}' is a class without training images")
    decoded = empty_images(len(images), pixels, images[0].path.parent if images else "")
    for row, image in enumerate(images):
        decoded[row] = square(blob(image.path), pixels, image.path, done)
    return decoded, np.array([numbers[image.label] for image in images], dtype=np.int64)


def _untested(test: Sequence[Listed], numbers: dict[str, int]) -> tuple[str, ...]:
    """A remark naming the classes without test images; none where no class has any."""
    lacking = sorted(numbers.keys() - {image.label for image in test})
    if not lacking or not test:
        return ()
    more = f" and {len(lacking) - MOST_NAMED} more" if len(lacking) > MOST_NAMED else ""
    return (f"no test images of {', '.join(lacking[:MOST_NAMED])}{more}",)
