"""Which training images a list names: the rows to forget, and what a person should know of the list beforehand."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from core.data.cache import cached
from core.data.carved_test import carved
from core.data.catalog import DatasetInfo, dataset_info
from core.data.dataset import Limit
from core.data.locate import decoded, identity, located
from core.data.named_rows import Digest, NamedRows, pixel_digests
from core.data.readers import Arrays, Source
from core.data.subset import Indices, kept_rows
from core.errors import BadInput

_NAMED = 3  # entries in a line
_TEST, _OUTSIDE = -1, -2  # in the place of a row that a run does not train on


@dataclass(frozen=True)
class ListedImages:
    """rows: of the images to forget among those that a run trains on, ascending. remarks: a line each."""

    rows: Indices
    remarks: tuple[str, ...] = ()


def listed_images(
    dataset: str,
    root: Path,
    cache: Path,
    entries: Sequence[str],
    *,
    limit: Limit | None = None,
    download: bool = False,
    test_share: float | None = None,
) -> ListedImages:
    """The rows that the entries name among the training images that `load` gives with the same arguments.

    An entry is an image's path (below the data root, or the end of it), the value of a table's column of names, a row
    number from 0 among all training images, or a SHA-256, in hex, of the image's file or of its pixels (see
    `NamedRows.rows`). Raises BadInput, one line, where half of the entries or more are no training images, where none
    is left to retain, and as `load` does.
    """
    images = _opened(dataset_info(dataset), root, cache, limit or Limit(), download, test_share)
    found = _match(entries, images)
    _check(dataset, found, images)
    rows = np.unique(np.array(found.rows, dtype=np.int64))
    return ListedImages(rows, tuple(_remarks(dataset, found, images, rows)))


@dataclass(frozen=True)
class _Images:
    """All images of a data set, and which of them a run trains on.

    positions: by row of a training image as the files have them, its row in the run, `_TEST` or `_OUTSIDE`.
    kept: rows of `arrays.train_images` that the run trains on.
    """

    arrays: Arrays
    positions: Indices
    kept: Indices
    named: NamedRows

    def name(self, row: int) -> str:
        """What an image of the run is called."""
        return self.named.name(int(np.flatnonzero(self.positions == row)[0]))


def _opened(
    info: DatasetInfo, root: Path, cache: Path, limit: Limit, download: bool, test_share: float | None
) -> _Images:
    source, files = located(info, root, download)
    about = identity(info, source, files, root, test_share)
    arrays, _ = cached(cache, info.name, about, partial(decoded, info, source, files, test_share))
    tested = _carved(info, source, files, arrays, test_share)
    kept = kept_rows(arrays.train_labels, limit.train, (0, 0))
    positions = np.where(tested, _TEST, _OUTSIDE)
    positions[np.flatnonzero(~tested)[kept]] = np.arange(len(kept))
    digests = partial(_digests, source, files, arrays, tested)
    return _Images(arrays, positions, kept, NamedRows(len(tested), source.names(files, root), root, digests))


def _carved(
    info: DatasetInfo, source: Source, files: tuple[Path, ...], arrays: Arrays, test_share: float | None
) -> np.ndarray:
    """Which training images, as the files have them, became the test split. They are decoded once more to say so."""
    if test_share is not None and source.may_lack_test:
        whole = source.read(files, info.classes, info.pixels)
        if not len(whole.test_labels):
            return carved(info.name, whole.train_labels, test_share)
    return np.zeros(len(arrays.train_labels), dtype=bool)


def _digests(
    source: Source, files: tuple[Path, ...], arrays: Arrays, tested: np.ndarray
) -> Iterator[Sequence[Digest]]:
    """Of pixels, and of files where images are any; training images, as the files have them, come first."""
    train, test = pixel_digests(arrays.train_images), pixel_digests(arrays.test_images)
    if tested.any():
        parts = {True: iter(test), False: iter(train)}
        yield [next(parts[each]) for each in tested.tolist()]
    else:
        yield [*train, *test]
    encoded = source.encoded(files)
    if encoded is not None:
        yield [hashlib.sha256(each).digest() for each in encoded]


@dataclass
class _Found:
    """What became of the entries: rows of the run, how many entries named them, the others by reason."""

    rows: list[int] = field(default_factory=list)
    matched: int = 0
    repeated: int = 0
    missing: list[str] = field(default_factory=list)
    tested: list[str] = field(default_factory=list)
    limited: list[str] = field(default_factory=list)

    @property
    def half_wrong(self) -> bool:
        """Whether half of the entries or more are no training image; a limit that leaves some out is asked for."""
        wrong = len(self.missing) + len(self.tested)
        return wrong >= self.matched + len(self.limited)


def _match(entries: Sequence[str], images: _Images) -> _Found:
    found, taken = _Found(), set[int]()
    for entry in dict.fromkeys(entries):
        rows = images.named.rows(entry)
        places = [_TEST if row < 0 else int(images.positions[row]) for row in rows]
        inside = [place for place in places if place >= 0]
        if not rows:
            found.missing.append(entry)
        elif not inside:
            (found.tested if _TEST in places else found.limited).append(entry)
        else:
            found.matched += 1
            found.repeated += taken.issuperset(inside)
        taken.update(inside)
        found.rows += inside
    found.repeated += len(entries) - len(dict.fromkeys(entries))
    return found


def _check(dataset: str, found: _Found, images: _Images) -> None:
    """Raises BadInput for a list that cannot be meant for these images."""
    told = "; ".join(_lacking(found))
    if not found.rows:
        raise BadInput(f"it names no training image of {dataset}: {told}; they {images.named.example}")
    if found.half_wrong:
        raise BadInput(
            f"half of it or more names no training image of {dataset}: {told}; they {images.named.example}"
        )
    if len(set(found.rows)) == len(images.kept):
        raise BadInput(
            f"it names all {len(images.kept):,} training images of {dataset}, and none is left to retain"
        )


def _lacking(found: _Found) -> Iterator[str]:
    """`2 are not there (a.png, b.png)`: a few words for each reason."""
    groups = (
        (found.missing, "not there"),
        (found.tested, "of the test set, which no network was trained on"),
        (found.limited, "outside data.limit, which null lifts"),
    )
    for entries, what in groups:
        if entries:
            yield f"{len(entries):,} {'is' if len(entries) == 1 else 'are'} {what} ({_some(entries)})"


def _remarks(dataset: str, found: _Found, images: _Images, rows: Indices) -> Iterator[str]:
    for line in _lacking(found):
        yield f"{dataset}: {line}"
    if found.repeated:
        again = "1 entry names" if found.repeated == 1 else f"{found.repeated:,} entries name"
        yield f"{dataset}: {again} an image that another has named"
    twins = _twins(images, rows)
    if twins:
        pairs = [f"{images.name(one)} = {images.name(other)}" for one, other in twins]
        stay = "1 retained image has" if len(twins) == 1 else f"{len(twins):,} retained images have"
        yield f"{dataset}: {stay} exactly the pixels of a listed one ({_some(pairs)}); what it shows stays learned"


def _twins(images: _Images, rows: Indices) -> list[tuple[int, int]]:
    """Images of the run that are not listed and have exactly the pixels of one that is: their row, and that one's."""
    digests = pixel_digests(images.arrays.train_images[images.kept])
    listed = {digests[row]: int(row) for row in rows[::-1]}
    forgotten = set(rows.tolist())
    return [(row, listed[d]) for row, d in enumerate(digests) if d in listed and row not in forgotten]


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
    return ", ".join(f"{name:.80}" for name in names[:_NAMED]) + more
