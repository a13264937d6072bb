"""Which images a folder of one's own holds: where each lies, what it shows and which split it belongs to.

Labels are the names of folders, or a table beside the images says them.
"""

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

from core.data.readers.pictures import suffixes
from core.data.readers.source import plural, unreadable

TRAIN, TESTS = "train", ("test", "val", "valid", "validation")  # the first test split that is there

SplitName = Literal["train", "test"]


class Listed(NamedTuple):
    """An image to be read, its label as text, and its split."""

    path: Path
    label: str
    split: SplitName


@dataclass
class PictureList:
    """The images of a folder, in the order in which they are read. table: the file their labels stand in, if any.

    empty: folders of classes without a single image. left_out: what else lies there, by kind.
    """

    images: list[Listed] = field(default_factory=list)
    table: Path | None = None
    empty: list[Path] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)

    def of(self, split: SplitName) -> list[Listed]:
        """The images of one split."""
        return [image for image in self.images if image.split == split]

    def remarks(self) -> tuple[str, ...]:
        """One line on what is left out, if anything is."""
        if not self.left_out:
            return ()
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in sorted(self.left_out.items()))
        return (f"{plural(self.left_out.total(), 'file')} left out: {kinds}",)


def by_folders(base: Path) -> PictureList:
    """`<base>/train/<class>/…` and `<base>/test/<class>/…`; or, without either, `<base>/<class>/…`, all of it training.

    Raises BadInput for a folder that cannot be read.
    """
    found = PictureList()
    if not (base / TRAIN).is_dir():
        _add_classes(found, base, "train")
        return found
    _add_classes(found, base / TRAIN, "train")
    there = [base / name for name in TESTS if (base / name).is_dir()]
    for test in there[:1]:
        _add_classes(found, test, "test")
    for other in there[1:]:
        found.left_out[f"in {other.name}, as {there[0].name} is the test split"] += len(list(_files(other)))
    return found


def lacks_train(base: Path) -> bool:
    """Whether a test split lies there alone, so that the folders can be no classes."""
    return not (base / TRAIN).is_dir() and any((base / name).is_dir() for name in TESTS)


def _add_classes(found: PictureList, split: Path, name: SplitName) -> None:
    for folder in _folders(split):
        images = sorted(_images(folder, found.left_out))
        found.images += [Listed(path, folder.name, name) for path in images]
        if not images and name == "train":
            found.empty.append(folder)


def _folders(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    except OSError as error:
        raise unreadable(folder, error) from error


def _images(folder: Path, left_out: Counter[str]) -> Iterator[Path]:
    """The images anywhere below a folder; counts what is none."""
    for path in _files(folder):
        if any(part.startswith(".") for part in path.relative_to(folder).parts):
            left_out["hidden"] += 1
        elif path.suffix.lower() in suffixes():
            yield path
        else:
            left_out[path.suffix.lower() or "without an ending"] += 1


def _files(folder: Path) -> Iterator[Path]:
    """Every file below a folder; links to folders are followed, each folder once."""
    seen: set[tuple[int, int]] = set()

    def refuse(error: OSError) -> None:
        raise unreadable(Path(error.filename), error) from error

    for place, folders, files in os.walk(folder, followlinks=True, onerror=refuse):
        stat = Path(place).stat()
        if (stat.st_dev, stat.st_ino) in seen:
            folders.clear()  # a link to a folder above: one would never come to an end
            continue
        seen.add((stat.st_dev, stat.st_ino))
        yield from (Path(place, name) for name in files)
