"""What a reader of one on-disk format is, and the checks every reader makes on what it finds."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from core.data.download import Remote
from core.errors import BadInput

Images = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]


class Arrays(NamedTuple):
    """A decoded dataset: images uint8 (N, 3, H, W), labels int64 (N,)."""

    train_images: Images
    train_labels: Labels
    test_images: Images
    test_labels: Labels


@dataclass(frozen=True)
class Official:
    """What the publisher of an archive says of its files; a test with small files gives its own.

    `md5`: file name -> MD5, hex. `urls`: file name -> address, for the files one downloads.
    """

    md5: Mapping[str, str]
    urls: Mapping[str, str]

    def remotes(self) -> tuple[Remote, ...]:
        """The files to download."""
        return tuple(Remote(url, file, self.md5[file]) for file, url in self.urls.items())


class Source(ABC):
    """One place and format in which a dataset can lie under the data root."""

    words: ClassVar[str]  # what the results say the data came from
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

        Raises BadInput, naming the file, for one that is damaged or holds something else. A reader whose files
        say themselves how many classes there are leaves `classes` alone.
        """

    def remotes(self) -> tuple[Remote, ...]:
        """The files `data.download=true` brings; none unless the reader says so."""
        return ()

    def by_hand(self) -> str:
        """What a person can put under the data root: what could be downloaded, unless the reader says otherwise."""
        return " and ".join(f"{remote.file} (from {remote.url})" for remote in self.remotes())


def blob(path: Path) -> bytes:
    """The bytes of a file. Raises BadInput naming it if it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise BadInput(f"{path} cannot be read ({error.strerror})") from error


def verified(data: bytes, md5: str, where: object) -> bytes:
    """`data` itself, once its MD5 is the published one; BadInput with both sums otherwise."""
    found = hashlib.md5(data, usedforsecurity=False).hexdigest()
    if found != md5:
        raise BadInput(f"{where} is damaged or not the official file (md5 expected {md5}, found {found})")
    return data


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


def picture(data: bytes, pixels: int, where: object) -> Images:
    """Decode one JPEG or PNG, grey-scale or not, to uint8 RGB (3, pixels, pixels).

    Raises BadInput for one that cannot be decoded or has another size. The size is compared before any
    pixel is decoded, so that a forged header cannot ask for gigabytes.
    """
    try:
        with Image.open(BytesIO(data), formats=("JPEG", "PNG")) as image:
            size = image.size
            if size == (pixels, pixels):
                return np.asarray(image.convert("RGB")).transpose(2, 0, 1)
    except Exception as error:  # the decoders raise OSError, SyntaxError, ValueError, struct.error and more
        raise BadInput(f"{where}: image cannot be decoded ({type(error).__name__})") from error
    raise BadInput(f"{where}: image is {size[0]}×{size[1]} px, expected {pixels}×{pixels}")
