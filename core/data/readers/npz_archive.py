"""Any NumPy archive with the four arrays that MedMNIST's have: images and labels of the training and the test split."""

from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from PIL import Image

from core.data.readers.source import Arrays, Images, Labels, Source, blob, checked_labels, grey
from core.errors import BadInput

SPLITS = ("train", "test")
_CHANNELS = (1, 3)


@dataclass(frozen=True)
class NpzArchive(Source):
    """`<name>.npz` under the data root: uint8 images (N, H, W), (N, H, W, C) or (N, C, H, W) of 1 or 3 channels.

    `train_images`, `train_labels`, `test_images`, `test_labels`; others, such as MedMNIST's validation split, are left
    out. Images of another size are made `pixels` wide with bilinear filtering.
    """

    words: ClassVar[str] = "NumPy archive"
    revision: ClassVar[int] = 1

    name: str

    def wanted(self) -> tuple[str, ...]:
        """The archive."""
        return (f"{self.name}.npz",)

    def by_hand(self) -> str:
        """The archive."""
        return f"{self.name}.npz with train_images, train_labels, test_images and test_labels"

    def find(self, root: Path) -> tuple[Path, ...] | None:
        """The archive, or None."""
        path = root / f"{self.name}.npz"
        return (path,) if path.is_file() else None

    def read(self, files: tuple[Path, ...], classes: int, pixels: int) -> Arrays:  # noqa: ARG002  as many as there are
        """Decode both splits; there are as many classes as the training labels name."""
        (path,) = files
        found = _arrays(path)
        known = np.asarray(found["train_labels"])
        count = int(known.max()) + 1 if known.size and known.dtype.kind in "iu" else 1
        splits = [_split(found, split, path, count, pixels) for split in SPLITS]
        return Arrays(*splits[0], *splits[1])


def _arrays(path: Path) -> dict[str, Any]:
    """The four arrays. No pickle is ever read: an array of objects is refused."""
    data, names = (
        BytesIO(blob(path)),
        [f"{split}_{what}" for split in SPLITS for what in ("images", "labels")],
    )
    try:
        with np.load(data, allow_pickle=False) as content:
            lacking = [name for name in names if name not in content]
            if lacking:
                raise BadInput(
                    f"{path} lacks {', '.join(lacking)}; it holds {', '.join(content) or 'nothing'}"
                )
            return {name: content[name] for name in names}
    except BadInput:
        raise
    except Exception as error:  # BadZipFile, zlib.error, ValueError, AttributeError of an .npy …
        raise BadInput(f"{path} is not a readable NumPy archive ({error})") from error


def _split(found: dict[str, Any], split: str, path: Path, classes: int, pixels: int) -> tuple[Images, Labels]:
    images, labels = found[f"{split}_images"], found[f"{split}_labels"]
    where = f"{path} {split}_images"
    if images.dtype != np.uint8:
        raise BadInput(f"{where} are {images.dtype}, expected uint8 from 0 to 255")
    planes = _planes(images, where)
    if labels.size != len(planes):
        raise BadInput(
            f"{where} are {len(planes)} and {split}_labels {labels.shape}, expected a label for each image"
        )
    return _resized(planes, pixels), checked_labels(labels, classes, f"{path} {split}_labels")


def _planes(images: Any, where: str) -> Images:
    """Images as uint8 (N, 3, H, W), whichever of the three shapes they come in."""
    if images.ndim == 4 and images.shape[3] in _CHANNELS:
        images = images.transpose(0, 3, 1, 2)
    elif images.ndim == 3:
        images = images[:, None]
    if images.ndim != 4 or images.shape[1] not in _CHANNELS or 0 in images.shape[2:]:
        raise BadInput(
            f"{where} are {images.shape}, expected (N, H, W), (N, H, W, C) or (N, C, H, W) of 1 or 3 channels"
        )
    found: Images = np.ascontiguousarray(grey(images[:, 0]) if images.shape[1] == 1 else images)
    return found


def _resized(images_N3HW: Images, pixels: int) -> Images:
    if images_N3HW.shape[2:] == (pixels, pixels):
        return images_N3HW
    made = np.empty((len(images_N3HW), 3, pixels, pixels), np.uint8)
    for row, image in enumerate(images_N3HW):
        whole = Image.fromarray(np.ascontiguousarray(image.transpose(1, 2, 0)))
        made[row] = np.asarray(whole.resize((pixels, pixels), Image.Resampling.BILINEAR)).transpose(2, 0, 1)
    return made
