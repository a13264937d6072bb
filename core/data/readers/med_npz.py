"""A MedMNIST set as published: one .npz with the images and labels of the training, validation and test split.

The published validation images are left out: a grid holds out a share of the training images itself.
"""

from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

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

SPLITS = ("train", "test")


def organamnist() -> Official:
    """Address and sum of MedMNIST+ (v3, 2024) at 28 px; torchvision has neither."""
    return Official(
        md5={"organamnist.npz": "68e3f8846a6bd62f0c9bf841c0d9eacc"},
        urls={
            "organamnist.npz": "https://zenodo.org/records/10519652/files/organamnist.npz?download=1",
        },
    )


@dataclass(frozen=True)
class MedNpz(Source):
    """`<name>.npz` directly under the data root or in a folder of its name."""

    words: ClassVar[str] = "MedMNIST archive"
    revision: ClassVar[int] = 1

    name: str
    official: Callable[[], Official]

    def wanted(self) -> tuple[str, ...]:
        """The archive."""
        return (f"{self.name}.npz",)

    def find(self, root: Path) -> tuple[Path, ...] | None:
        """The archive, or None."""
        (file,) = self.wanted()
        return next(((path,) for path in (root / file, root / self.name / file) if path.is_file()), None)

    def read(self, files: tuple[Path, ...], classes: int, pixels: int) -> Arrays:
        """Decode the training and the test split; grey images become three equal channels."""
        (path,) = files
        data = blob(path)
        splits = [_split(_arrays(data, split, path), split, path, classes, pixels) for split in SPLITS]
        remarks = unpublished(data, self.official().md5[path.name], path)
        return Arrays(*splits[0], *splits[1], remarks=remarks)

    def remotes(self) -> tuple[Remote, ...]:
        """The archive."""
        return self.official().remotes()


def _arrays(data: bytes, split: str, where: Path) -> tuple[Any, Any]:
    """Images and labels of a split. No pickle is ever read: an array of objects is refused."""
    try:
        with np.load(BytesIO(data), allow_pickle=False) as content:
            return content[f"{split}_images"], content[f"{split}_labels"]
    except Exception as error:  # BadZipFile, zlib.error, KeyError, ValueError …
        raise BadInput(f"{where} is not a readable MedMNIST file ({error})") from error


def _split(
    found: tuple[Any, Any], split: str, where: Path, classes: int, pixels: int
) -> tuple[Images, Labels]:
    images, labels = found
    shapes = ((len(labels), pixels, pixels), (len(labels), pixels, pixels, 3))
    if images.dtype != np.uint8 or images.shape not in shapes or labels.size != len(labels):
        raise BadInput(
            f"{where} holds {split}_images {images.dtype} {images.shape} with labels {labels.shape}; expected uint8"
            f" of {pixels}×{pixels} px and a label for each"
        )
    decoded = grey(images) if images.ndim == 3 else np.ascontiguousarray(images.transpose(0, 3, 1, 2))
    return decoded, checked_labels(labels, classes, f"{where} {split}_labels")
