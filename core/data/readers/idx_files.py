"""MNIST and its kin as published: four idx files, gzip-compressed or unpacked, of grey images and labels.

An idx file is a header of big-endian numbers (two zero bytes, 8 for bytes, the number of dimensions, then their
sizes) and the values after it.
"""

import gzip
import math
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from core.data.download import Remote
from core.data.readers.source import (
    Arrays,
    Images,
    Labels,
    Official,
    Source,
    blob,
    checked_labels,
    grey,
    verified,
)
from core.errors import BadInput

TRAIN = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte")
TEST = ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


def published_idx(name: str) -> Official:
    """The sums and addresses torchvision holds of the compressed files of the class `name`."""
    import torchvision.datasets  # seconds to import, and only a first decode needs it

    kind = getattr(torchvision.datasets, name)
    return Official(
        md5=dict(kind.resources), urls={file: f"{kind.mirrors[0]}{file}" for file, _ in kind.resources}
    )


@dataclass(frozen=True)
class IdxFiles(Source):
    """The four files in `<root>/<folder>/raw/`, where torchvision keeps them, or plainly in a folder.

    That is `<root>/<folder>/`, `<root>/<name>/`, or a root of either name. Compressed files are compared with
    their published MD5; of unpacked ones no sum is published.
    """

    words: ClassVar[str] = "idx files"
    revision: ClassVar[int] = 1

    name: str
    folder: str
    official: Callable[[], Official]

    def wanted(self) -> tuple[str, ...]:
        """Where torchvision keeps the four files."""
        return tuple(f"{self.folder}/raw/{stem}[.gz]" for stem in (*TRAIN, *TEST))

    def find(self, root: Path) -> tuple[Path, ...] | None:
        """The four files of the first place that has them all."""
        for place in self._places(root):
            found = [_either(place / stem) for stem in (*TRAIN, *TEST)]
            files = tuple(path for path in found if path is not None)
            if len(files) == len(found):
                return files
        return None

    def _places(self, root: Path) -> Iterator[Path]:
        own = [root] if root.resolve().name in (self.folder, self.name) else []
        for base in (root / self.folder, root / self.name, *own):
            yield from (base / "raw", base)

    def read(self, files: tuple[Path, ...], classes: int, pixels: int) -> Arrays:
        """Decode both splits; grey images become three equal channels."""
        pictures, named, test_pictures, test_named = files
        train = self._split(pictures, named, classes, pixels)
        return Arrays(*train, *self._split(test_pictures, test_named, classes, pixels))

    def _split(self, pictures: Path, named: Path, classes: int, pixels: int) -> tuple[Images, Labels]:
        images_NHW, labels_N = self._values(pictures, 3), self._values(named, 1)
        if images_NHW.shape[1:] != (pixels, pixels):
            size = "×".join(map(str, images_NHW.shape[1:]))
            raise BadInput(f"{pictures} holds images of {size} px, expected {pixels}×{pixels}")
        if len(images_NHW) != len(labels_N):
            raise BadInput(f"{pictures} holds {len(images_NHW)} images, but {named} {len(labels_N)} labels")
        return grey(images_NHW), checked_labels(labels_N, classes, named)

    def _values(self, path: Path, dimensions: int) -> npt.NDArray[np.uint8]:
        data = blob(path)
        if path.suffix == ".gz":
            data = _unpacked(verified(data, self.official().md5[path.name], path), path)
        return _array(data, dimensions, path)

    def remotes(self) -> tuple[Remote, ...]:
        """The four compressed files, to where torchvision keeps them."""
        return tuple(
            replace(remote, file=f"{self.folder}/raw/{remote.file}") for remote in self.official().remotes()
        )


def _either(path: Path) -> Path | None:
    """The compressed file, whose sum is known, else the unpacked one."""
    choices = (path.with_name(f"{path.name}.gz"), path)
    return next((choice for choice in choices if choice.is_file()), None)


def _unpacked(data: bytes, where: Path) -> bytes:
    try:
        return gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as error:
        raise BadInput(f"{where} is not a readable .gz ({error})") from error


def _array(data: bytes, dimensions: int, where: Path) -> npt.NDArray[np.uint8]:
    """The values behind an idx header of bytes in so many dimensions. Raises BadInput for anything else."""
    magic, header = bytes((0, 0, 8, dimensions)), 4 + 4 * dimensions
    if data[:4] != magic:
        raise BadInput(
            f"{where} is not such an idx file (magic expected {magic.hex()}, found {data[:4].hex()})"
        )
    if len(data) < header:
        raise BadInput(f"{where} is damaged: it ends within its header")
    shape = np.frombuffer(data[4:header], ">u4").tolist()
    promised, held = math.prod(shape), len(data) - header
    if promised != held:
        sizes = " × ".join(map(str, shape))
        raise BadInput(f"{where} is damaged: it promises {sizes} = {promised} bytes and holds {held}")
    return np.frombuffer(data, np.uint8, offset=header).reshape(shape)
