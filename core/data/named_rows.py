"""From what a person calls an image, a path, a row number or a SHA-256, to its row in a data set."""

import hashlib
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from core.data.readers import Images, Names
from core.errors import BadInput

Digest = bytes
_SHA256 = re.compile(r"[0-9a-fA-F]{64}")


class NamedRows:
    """Looks entries up. Training images have their row from 0 on; test images `~row`, which is negative.

    count: training images. names: what images are called, if they are called anything. root: what their paths are
    relative to. digests: gives what SHA-256 sums an image may be known by, one sequence a time; called once, and only
    if an entry is one.
    """

    def __init__(
        self, count: int, names: Names | None, root: Path, digests: Callable[[], Iterable[Sequence[Digest]]]
    ) -> None:
        self._count, self._root, self._sums = count, root.absolute(), digests
        self._whole: defaultdict[str, list[int]] = defaultdict(list)
        self._ends: defaultdict[str, list[int]] = defaultdict(list)
        self._digests: dict[Digest, list[int]] | None = None
        for row, name in _rows(*names) if names else ():
            self._whole[name].append(row)
            for end in _ends(name):
                self._ends[end].append(row)
        self.numbered = not any(name.isdigit() for name in self._whole)

    @property
    def example(self) -> str:
        """What images here are called: `are called such as flowers/train/rose/1.png`."""
        first = next(iter(self._whole), None)
        return (
            f"have the row numbers 0 to {self._count - 1}" if first is None else f"are called such as {first}"
        )

    def name(self, row: int) -> str:
        """What a training image is called: its name, else its row number."""
        return next((name for name, rows in self._whole.items() if row in rows), f"row {row}")

    def rows(self, entry: str) -> list[int]:
        """The rows that an entry stands for; none if there is no such image.

        A path may leave out folders in front as long as one training image ends so; BadInput where several do. A
        value that a table has for several rows stands for all of them. A number is a row, counted from 0 over the
        training images, unless images are called by numbers.
        """
        if _SHA256.fullmatch(entry):
            return self._by_digest(bytes.fromhex(entry))
        name = self._below_root(entry)
        if name in self._whole:
            return self._whole[name]
        if entry.isdecimal() and self.numbered:
            return [int(entry)] if int(entry[:19]) < self._count else []
        return self._only(name)

    def _below_root(self, entry: str) -> str:
        path = PurePosixPath(entry.replace("\\", "/") if "/" not in entry else entry)
        inside = path.is_absolute() and path.is_relative_to(self._root)
        return str(path.relative_to(self._root) if inside else path)

    def _only(self, end: str) -> list[int]:
        found = self._ends.get(end, [])
        train = [row for row in found if row >= 0]
        if len(train) > 1:
            names = [name for name in self._whole if name.endswith(f"/{end}")][:2]
            raise BadInput(
                f"'{end}' stands for {len(train)} images ({', '.join(names)} …): give more of the path"
            )
        return train or found

    def _by_digest(self, digest: Digest) -> list[int]:
        if self._digests is None:
            self._digests = defaultdict(list)
            for sums in self._sums():
                for row, each in zip(_numbers(self._count, len(sums)), sums, strict=True):
                    self._digests[each].append(row)
        return list(dict.fromkeys(self._digests.get(digest, [])))


def pixel_digests(images: Images) -> list[Digest]:
    """SHA-256 of each image's pixels, uint8 (3, H, W) as they are decoded."""
    return [hashlib.sha256(image).digest() for image in np.ascontiguousarray(images)]


def _rows(train: Sequence[str], test: Sequence[str]) -> Iterator[tuple[int, str]]:
    names = (*train, *test)
    return ((row, name) for row, name in zip(_numbers(len(train), len(names)), names, strict=True) if name)


def _numbers(train: int, both: int) -> Iterator[int]:
    """Rows of the training images, then of the test images."""
    yield from range(train)
    yield from (~row for row in range(both - train))


def _ends(name: str) -> Iterator[str]:
    """`train/rose/1.png`, `rose/1.png` and `1.png` of `flowers/train/rose/1.png`."""
    parts = name.split("/")
    return ("/".join(parts[first:]) for first in range(1, len(parts)))
