"""CIFAR-10/100 as published: Python-2 pickles of uint8 rows, in a folder or still in their .tar.gz.

A pickle can run any code when it is read. Two things stand in front of that: a file is read only once its
MD5 is the published one, and then by `array_pickle`, which rebuilds arrays and nothing else.
"""

import tarfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from core.data.download import Remote
from core.data.readers.array_pickle import unpickled
from core.data.readers.source import Arrays, Images, Labels, Official, Source, blob, checked_labels, verified
from core.errors import BadInput

LABEL_KEYS = ("labels", "fine_labels")  # CIFAR-10, CIFAR-100


def published_cifar(dataset: str) -> Official:
    """The sums and address torchvision holds for its class `dataset` ("CIFAR10" or "CIFAR100")."""
    import torchvision.datasets  # seconds to import, and only a first decode needs it

    known = getattr(torchvision.datasets, dataset)
    members = dict((*known.train_list, *known.test_list))
    return Official(md5={known.filename: known.tgz_md5, **members}, urls={known.filename: known.url})


@dataclass(frozen=True)
class CifarPickle(Source):
    """The batches `train` and `test` in `folder`, or in `archive` (read in place, never unpacked).

    Both lie directly under the data root. `official` gives the sums of the batches and of the archive.
    """

    words: ClassVar[str] = "official archive"
    revision: ClassVar[int] = 1

    folder: str
    archive: str
    train: tuple[str, ...]
    test: tuple[str, ...]
    official: Callable[[], Official]

    def wanted(self) -> tuple[str, ...]:
        """Every batch, or the archive."""
        return (*(f"{self.folder}/{batch}" for batch in (*self.train, *self.test)), self.archive)

    def find(self, root: Path) -> tuple[Path, ...] | None:
        """The batches if all are there, else the archive."""
        batches = tuple(root / self.folder / batch for batch in (*self.train, *self.test))
        if all(path.is_file() for path in batches):
            return batches
        archive = root / self.archive
        return (archive,) if archive.is_file() else None

    def read(self, files: tuple[Path, ...], classes: int, pixels: int) -> Arrays:
        """Decode the batches, each checked against its published MD5 first."""
        sums = self.official().md5
        packed = files[0].name == self.archive
        blobs = self._unpacked(files[0], sums) if packed else {file.name: blob(file) for file in files}
        place = files[0] if packed else files[0].parent
        decode = partial(_decode, blobs, sums, place, classes, pixels)
        return Arrays(*decode(self.train), *decode(self.test))

    def remotes(self) -> tuple[Remote, ...]:
        """The archive."""
        return self.official().remotes()

    def _unpacked(self, archive: Path, sums: Mapping[str, str]) -> dict[str, bytes]:
        """The expected members of the archive, in memory; whatever else it holds is passed over."""
        data = verified(blob(archive), sums[archive.name], archive)
        wanted = {f"{self.folder}/{batch}": batch for batch in (*self.train, *self.test)}
        found = {}
        try:
            with tarfile.open(fileobj=BytesIO(data), mode="r:gz") as tar:
                for member in tar:
                    stream = tar.extractfile(member) if member.isfile() and member.name in wanted else None
                    if stream is not None:
                        found[wanted[member.name]] = stream.read()
        except (tarfile.TarError, OSError, EOFError) as error:
            raise BadInput(f"{archive} is not a readable .tar.gz ({error})") from error
        missing = [name for name, batch in wanted.items() if batch not in found]
        if missing:
            raise BadInput(f"{archive} lacks {', '.join(missing)}")
        return found


def _decode(
    blobs: Mapping[str, bytes],
    sums: Mapping[str, str],
    place: Path,
    classes: int,
    pixels: int,
    batches: tuple[str, ...],
) -> tuple[Images, Labels]:
    images, labels = [], []
    for batch in batches:
        where = place / batch
        content = unpickled(verified(blobs[batch], sums[batch], where), where)
        images.append(_images(content.get("data"), pixels, where))
        key = next((key for key in LABEL_KEYS if key in content), LABEL_KEYS[0])
        labels.append(checked_labels(content.get(key, []), classes, where))
        if len(images[-1]) != len(labels[-1]):
            raise BadInput(f"{where} holds {len(images[-1])} images but {len(labels[-1])} labels")
    return np.concatenate(images), np.concatenate(labels)


def _images(rows: Any, pixels: int, where: Path) -> Images:
    if not isinstance(rows, np.ndarray) or rows.dtype != np.uint8 or rows.shape[1:] != (3 * pixels * pixels,):
        raise BadInput(f"{where} holds no uint8 rows of 3 × {pixels} × {pixels} values under 'data'")
    return rows.reshape(-1, 3, pixels, pixels)
