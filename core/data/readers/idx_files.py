"""MNIST and its kin as published: four idx files, gzip-compressed or unpacked, of grey images and labels.

An idx file is a header of big-endian numbers (two zero bytes, 8 for bytes, the number of dimensions, then their
sizes) and the values after it. Nothing in it can be run, so that a file other than the published one is read, and said
to be another; what is compared is its content, as everybody's gzip writes other bytes around it.
"""

import gzip
import math
import zlib
from collections.abc import Callable, Iterator, Sequence
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
    unpublished,
)
from core.errors import BadInput

TRAIN = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte")
TEST = ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
# MD5 of the unpacked files, in the order of TRAIN and TEST
CONTENT = {
    "MNIST": (
        "6bbc9ace898e44ae57da46a324031adb",
        "a25bea736e30d166cdddb491f175f624",
        "2646ac647ad5339dbf082846283269ea",
        "27ae3e4e09519cfbb04c329615203637",
    ),
    "FashionMNIST": (
        "f4a8712d7a061bf5bd6d2ca38dc4d50a",
        "9018921c3c673c538a1fc5bad174d6f9",
        "8181f5470baa50b63fa0f6fddb340f0a",
        "15d484375f8d13e6eb1aabb0c3f46965",
    ),
}


def published_idx(name: str) -> Official:
    """The sums and addresses torchvision holds of the files of its class `name`, and the sums of what is in them."""
    import torchvision.datasets  # seconds to import, and only a first decode needs it

    kind = getattr(torchvision.datasets, name)
    return Official(
        md5=dict(kind.resources),
        urls={file: f"{kind.mirrors[0]}{file}" for file, _ in kind.resources},
        content=dict(zip((*TRAIN, *TEST), CONTENT[name], strict=True)),
    )


@dataclass(frozen=True)
class IdxFiles(Source):
    """The four files in `<root>/<folder>/raw/`, where torchvision keeps them, or plainly in a folder.

    That is `<root>/<folder>/`, `<root>/<name>/`, or a root of either name, which may have dashes for underscores.
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
        names = dict.fromkeys((self.folder, self.name, self.name.replace("_", "-")))
        own = [root] if root.resolve().name in names else []
        for base in (*(root / name for name in names), *own):
            yield from (base / "raw", base)

    def read(self, files: tuple[Path, ...], classes: int, pixels: int) -> Arrays:
        """Decode both splits; grey images become three equal channels."""
        contents = [_content(file) for file in files]
        train = _split(files[:2], contents[:2], classes, pixels)
        test = _split(files[2:], contents[2:], classes, pixels)
        return Arrays(*train, *test, remarks=self._remarks(files, contents))

    def _remarks(self, files: Sequence[Path], contents: Sequence[bytes]) -> tuple[str, ...]:
        """Which of the files are not the published ones."""
        sums = self.official().content
        known = zip((*TRAIN, *TEST), contents, files, strict=True)
        found = (unpublished(content, sums[stem], file) for stem, content, file in known if stem in sums)
        return tuple(remark for remarks in found for remark in remarks)

    def by_hand(self) -> str:
        """The four files, which have one address but for their names."""
        remotes = self.official().remotes()
        return f"{', '.join(remote.file for remote in remotes)} (from {remotes[0].url.rpartition('/')[0]}/)"

    def remotes(self) -> tuple[Remote, ...]:
        """The four compressed files, to where torchvision keeps them."""
        return tuple(
            replace(remote, file=f"{self.folder}/raw/{remote.file}") for remote in self.official().remotes()
        )


def _split(
    files: Sequence[Path], contents: Sequence[bytes], classes: int, pixels: int
) -> tuple[Images, Labels]:
    """Images and labels of one split, from its two files."""
    pictures, named = files
    images_NHW, labels_N = (_array(*it) for it in zip(contents, (3, 1), files, strict=True))
    if images_NHW.shape[1:] != (pixels, pixels):
        size = "×".join(map(str, images_NHW.shape[1:]))
        raise BadInput(f"{pictures} holds images of {size} px, expected {pixels}×{pixels}")
    if len(images_NHW) != len(labels_N):
        raise BadInput(f"{pictures} holds {len(images_NHW)} images, but {named} {len(labels_N)} labels")
    return grey(images_NHW), checked_labels(labels_N, classes, named)


def _either(path: Path) -> Path | None:
    """The compressed file, else the unpacked one."""
    choices = (path.with_name(f"{path.name}.gz"), path)
    return next((choice for choice in choices if choice.is_file()), None)


def _content(where: Path) -> bytes:
    data = blob(where)
    try:
        return gzip.decompress(data) if where.suffix == ".gz" else data
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
