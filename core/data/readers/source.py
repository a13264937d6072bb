"""What a reader of one on-disk format is, and the checks every reader makes on what it finds."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from core.data.download import Remote
from core.errors import BadInput

Images = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]
Names = tuple[list[str], list[str]]  # of the training and of the test images, in the order of the rows


class Arrays(NamedTuple):
    """A decoded dataset: images uint8 (N, 3, H, W), labels int64 (N,).

    Without test images it has no test split of its own. `mapping`: what stood for image and label, where the files
    leave a choice. `remarks`: what a person should know, such as files that were left out, a line each.
    """

    train_images: Images
    train_labels: Labels
    test_images: Images
    test_labels: Labels
    mapping: str = ""
    remarks: tuple[str, ...] = ()

    def values(self) -> dict[str, npt.NDArray[Any]]:
        """The four arrays by name."""
        return {name: getattr(self, name) for name in ARRAYS}


ARRAYS = ("train_images", "train_labels", "test_images", "test_labels")


@dataclass(frozen=True)
class Official:
    """What the publisher of an archive says of its files; a test with small files gives its own.

    `md5`: file name -> MD5, hex. `urls`: file name -> address, for the files one downloads. `content`: name without
    .gz -> MD5 of what is in a compressed file.
    """

    md5: Mapping[str, str]
    urls: Mapping[str, str]
    content: Mapping[str, str] = field(default_factory=dict)

    def remotes(self) -> tuple[Remote, ...]:
        """The files to download."""
        return tuple(Remote(url, file, self.md5[file]) for file, url in self.urls.items())


class Source(ABC):
    """One place and format in which a dataset can lie under the data root."""

    words: ClassVar[str]  # what the results say the data came from
    may_lack_test: ClassVar[bool] = False  # whether a copy without a test split is one all the same
    revision: ClassVar[int]  # raised when the same files decode to other arrays: old caches are left alone

    @abstractmethod
    def wanted(self) -> tuple[str, ...]:
        """The files looked for, relative to the data root, for people to read."""

    @abstractmethod
    def find(self, root: Path) -> tuple[Path, ...] | None:
        """The files that identify this copy (their names, sizes and times name the cache), None if absent."""

    @abstractmethod
    def read(self, files: tuple[Path, ...], classes: int, pixels: int) -> Arrays:
        """Decode what `find` found into images of `pixels` × `pixels` and labels in [0, classes).

        Raises BadInput, naming the file, for one that is damaged or holds something else. Where `classes` is 0 the
        files say how many there are.
        """

    def notice(self, files: tuple[Path, ...]) -> tuple[str, ...]:  # noqa: ARG002
        """What lies beside the files that `find` found and is not read, for a person to know; a line each."""
        return ()

    def names(self, files: tuple[Path, ...], root: Path) -> Names | None:  # noqa: ARG002
        """What the images are called, those that are files by their paths below `root`; None: by row numbers alone.

        Of what `find` found, before a share of the training images becomes the test split.
        """
        return None

    def encoded(self, files: tuple[Path, ...]) -> Iterator[bytes] | None:  # noqa: ARG002
        """The bytes of every image before decoding, those for training first; None where there are only pixels."""
        return None

    def remotes(self) -> tuple[Remote, ...]:
        """The files `data.download=true` brings; none unless the reader says so."""
        return ()

    def by_hand(self) -> str:
        """What a person can put under the data root: what could be downloaded, unless the reader says otherwise."""
        return " and ".join(f"{remote.file} (from {remote.url})" for remote in self.remotes())


def plural(count: int, what: str) -> str:
    """`1 image`, `1,024 images`."""
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"


def blob(path: Path) -> bytes:
    """The bytes of a file. Raises BadInput naming it if it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise unreadable(path, error) from error


def unreadable(path: Path, error: OSError) -> BadInput:
    """The error for a file that cannot be read; of a link that leads nowhere it says so."""
    if path.is_symlink() and not path.exists():
        return BadInput(f"{path} is a link to {path.readlink()}, which is not there")
    return BadInput(f"{path} cannot be read ({error.strerror})")


def empty_images(count: int, pixels: int, where: object) -> Images:
    """Room for so many images, (count, 3, pixels, pixels). Raises BadInput where there is none."""
    try:
        return np.empty((count, 3, pixels, pixels), np.uint8)
    except (MemoryError, ValueError) as error:
        size = f"{3 * count * pixels**2 / 2**30:,.0f} GiB"
        raise BadInput(f"{where} promises {count:,} images, {size}, for which there is no memory") from error


def verified(data: bytes, md5: str, where: object) -> bytes:
    """`data` itself, once its MD5 is the published one; BadInput with both sums otherwise."""
    found = hashlib.md5(data, usedforsecurity=False).hexdigest()
    if found != md5:
        raise BadInput(f"{where} is damaged or not the official file (md5 expected {md5}, found {found})")
    return data


def unpublished(data: bytes, md5: str, where: object) -> tuple[str, ...]:
    """A remark if the MD5 of `data` is not the published one; for formats that cannot run anything when read."""
    found = hashlib.md5(data, usedforsecurity=False).hexdigest()
    return (
        () if found == md5 else (f"{where} is not the published file (md5 published {md5}, found {found})",)
    )


def checked_labels(labels: npt.ArrayLike, classes: int, where: object) -> Labels:
    """`labels` as int64 (N,). Raises BadInput, with file and row, unless all are integers in [0, classes)."""
    array = np.asarray(labels).reshape(-1)
    if array.size and array.dtype.kind not in "iu":
        raise BadInput(f"{where} holds labels which are not integers ({array.dtype})")
    outside = np.flatnonzero((array < 0) | (array >= classes))
    if len(outside):
        row = int(outside[0])
        raise BadInput(f"{where} row {row}: label {array[row]} is outside 0..{classes - 1}")
    return array.astype(np.int64)


def grey(values_NHW: npt.NDArray[np.uint8]) -> Images:
    """Grey images (N, H, W) as uint8 (N, 3, H, W) with three equal channels."""
    return np.repeat(values_NHW[:, None], 3, axis=1)
