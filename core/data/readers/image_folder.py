"""Any folder of images, as torchvision's ImageFolder reads one: a folder for each split, in it one for each class."""

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import ClassVar

import numpy as np
from PIL import Image, ImageOps

from core.data.readers.source import Arrays, Images, Labels, Source, blob
from core.errors import BadInput

TRAIN, TESTS = "train", ("test", "val", "valid", "validation")  # the first test folder that is there
SUFFIXES = (".jpg", ".jpeg", ".png")
LARGEST = 2**26  # pixels of an image before it is made smaller: a forged header must not ask for gigabytes


@dataclass(frozen=True)
class ImageFolder(Source):
    """`<root>/<name>/train/<class>/…` and `<root>/<name>/test/<class>/…`, JPEG and PNG files of any size.

    Classes are the folders under train, numbered in sorted order. If there is a test and a validation folder,
    the latter is left out.
    """

    words: ClassVar[str] = "image folder"
    revision: ClassVar[int] = 1

    name: str

    def wanted(self) -> tuple[str, ...]:
        """Both folders."""
        return tuple(f"{self.name}/{split}/<class>/*.jpg, .jpeg or .png" for split in (TRAIN, "test"))

    def by_hand(self) -> str:
        """Both folders."""
        return " and ".join(f"{self.name}/{split}/<class>/" for split in (TRAIN, "test"))

    def find(self, root: Path) -> tuple[Path, ...] | None:
        """The folder and every image in it: any of them may change."""
        base = root / self.name
        test = _test(base)
        if not (base / TRAIN).is_dir() or test is None:
            return None
        return (base, *(path for split in (base / TRAIN, test) for path in _images(split)))

    def read(self, files: tuple[Path, ...], classes: int, pixels: int) -> Arrays:  # noqa: ARG002  as many as there are
        """Decode every image: cropped in its centre to a square, made `pixels` wide with bilinear filtering."""
        base = files[0]
        test = _test(base)
        names = _folders(base / TRAIN)
        if test is None or not names:
            raise BadInput(f"{base / TRAIN} holds no folder of a class")
        unknown = sorted(set(_folders(test)) - set(names))
        if unknown:
            raise BadInput(f"{test / unknown[0]} is a class without training images in {base / TRAIN}")
        return Arrays(*_split(base / TRAIN, names, pixels), *_split(test, names, pixels, may_lack=True))


def _test(base: Path) -> Path | None:
    return next((base / name for name in TESTS if (base / name).is_dir()), None)


def _folders(split: Path) -> list[str]:
    return sorted(path.name for path in split.iterdir() if path.is_dir() and not path.name.startswith("."))


def _images(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)


def _split(
    folder: Path, names: Sequence[str], pixels: int, *, may_lack: bool = False
) -> tuple[Images, Labels]:
    found = [_images(folder / name) for name in names]
    for name, files in zip(names, found, strict=True):
        if not files and not may_lack:
            raise BadInput(f"{folder / name} holds no {', '.join(SUFFIXES)} file")
    images = np.empty((sum(map(len, found)), 3, pixels, pixels), np.uint8)
    for row, path in enumerate(path for files in found for path in files):
        images[row] = _square(blob(path), pixels, path)
    return images, np.repeat(np.arange(len(names), dtype=np.int64), [len(files) for files in found])


def _square(data: bytes, pixels: int, where: Path) -> Images:
    """One image as uint8 RGB (3, pixels, pixels); grey ones get three equal channels."""
    try:
        with Image.open(BytesIO(data), formats=("JPEG", "PNG")) as image:
            fault = _fault(image)
            if fault is None:
                square = ImageOps.fit(image.convert("RGB"), (pixels, pixels), Image.Resampling.BILINEAR)
                return np.asarray(square).transpose(2, 0, 1)
    except Exception as error:  # the decoders raise OSError, SyntaxError, ValueError, struct.error and more
        raise BadInput(f"{where}: image cannot be decoded ({type(error).__name__})") from error
    raise BadInput(f"{where}: image {fault}")


def _fault(image: Image.Image) -> str | None:
    """Why an image is not decoded, from its header alone; None if it is."""
    width, height = image.size
    if width * height > LARGEST:
        return f"is {width}×{height} px, expected at most {LARGEST:,} pixels"
    if image.mode.startswith("I"):  # Pillow would clip it to white
        return "has 16 bits per channel, expected 8"
    return None
