"""Tiny-ImageNet-200 as published: folders of JPEG files, or the .zip they came in.

train/<wnid>/images/*.JPEG are the training images, val/images/*.JPEG with val_annotations.txt the test
images (the published test images have no labels). Classes are numbered in sorted order of their wnid.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from core.data.download import Remote
from core.data.readers.pictures import picture
from core.data.readers.source import Arrays, Images, Labels, Names, Official, Source, checked_labels
from core.data.readers.tree import FolderTree, Tree, ZipTree
from core.errors import BadInput

FOLDER, ARCHIVE = "tiny-imagenet-200", "tiny-imagenet-200.zip"
WNIDS, VALIDATION, VALIDATION_IMAGES = "wnids.txt", "val/val_annotations.txt", "val/images"

Labelled = tuple[str, int]  # the name of an image and its class


def published() -> Official:
    """The address, and the sum the public loaders of the archive agree on; torchvision has neither."""
    return Official(
        md5={ARCHIVE: "90528d7ca1a48142e341f4ef8d21d0de"},
        urls={ARCHIVE: "http://cs231n.stanford.edu/tiny-imagenet-200.zip"},
    )


@dataclass(frozen=True)
class TinyFolder(Source):
    """The unpacked folder, or the archive, directly under the data root."""

    words: ClassVar[str] = "official archive"
    revision: ClassVar[int] = 1

    official: Callable[[], Official] = published

    def wanted(self) -> tuple[str, ...]:
        """The lists and images in the folder, or the archive."""
        inside = (WNIDS, "train/<wnid>/images/*.JPEG", VALIDATION, f"{VALIDATION_IMAGES}/*.JPEG")
        return (*(f"{FOLDER}/{name}" for name in inside), ARCHIVE)

    def find(self, root: Path) -> tuple[Path, ...] | None:
        """The two lists and the folders of images, else the archive.

        The folders stand for their 110,000 files, which would take long to look at one by one at every
        start; the time of a folder changes when a file comes or goes.
        """
        base, archive = root / FOLDER, root / ARCHIVE
        if all((base / name).exists() for name in (WNIDS, VALIDATION, VALIDATION_IMAGES)):
            named = (base / name for name in (WNIDS, VALIDATION, VALIDATION_IMAGES))
            return (*named, *sorted(base.glob("train/*/images")))
        return (archive,) if archive.is_file() else None

    def read(self, files: tuple[Path, ...], classes: int, pixels: int) -> Arrays:
        """Decode every training and validation image."""
        tree = self._tree(files)
        train, test = _images(tree)
        decoded = (*_decode(tree, train, classes, pixels), *_decode(tree, test, classes, pixels))
        return Arrays(*decoded, remarks=tree.remarks)

    def names(self, files: tuple[Path, ...], root: Path) -> Names:  # noqa: ARG002  the folder has one name
        """The images' paths, also in the archive."""
        train, test = ([f"{FOLDER}/{name}" for name, _ in part] for part in _images(self._tree(files)))
        return train, test

    def encoded(self, files: tuple[Path, ...]) -> Iterator[bytes]:
        """The images' files."""
        tree = self._tree(files)
        return (tree.read(name) for part in _images(tree) for name, _ in part)

    def _tree(self, files: tuple[Path, ...]) -> Tree:
        packed, md5 = files[0].name == ARCHIVE, self.official().md5[ARCHIVE]
        return ZipTree(files[0], FOLDER, md5) if packed else FolderTree(files[0].parent)

    def remotes(self) -> tuple[Remote, ...]:
        """The archive."""
        return self.official().remotes()


def _text(tree: Tree, name: str) -> str:
    return tree.read(name).decode("utf-8", "replace")


def _images(tree: Tree) -> tuple[list[Labelled], list[Labelled]]:
    """The training and the validation images."""
    wnids = sorted(_text(tree, WNIDS).split())
    number = {wnid: index for index, wnid in enumerate(wnids)}
    return _training(tree, wnids), _validation(tree, number)


def _training(tree: Tree, wnids: Sequence[str]) -> list[Labelled]:
    """The training images, class after class. Raises BadInput for a class without any."""
    found: list[Labelled] = []
    for label, wnid in enumerate(wnids):
        names = tree.images(f"train/{wnid}/images")
        if not names:
            raise BadInput(f"{tree.where(f'train/{wnid}/images')} holds no .JPEG file")
        found += [(name, label) for name in names]
    return found


def _validation(tree: Tree, number: Mapping[str, int]) -> list[Labelled]:
    """The validation images in the order of their list: file, wnid, and a box nobody here needs."""
    found: list[Labelled] = []
    for row, line in enumerate(_text(tree, VALIDATION).splitlines(), start=1):
        file, _, rest = line.partition("\t")
        wnid = rest.partition("\t")[0]
        if wnid not in number or "/" in file:
            raise BadInput(f"{tree.where(VALIDATION)} line {row}: no class '{wnid}' in {WNIDS}")
        found.append((f"{VALIDATION_IMAGES}/{file}", number[wnid]))
    return found


def _decode(tree: Tree, files: Sequence[Labelled], classes: int, pixels: int) -> tuple[Images, Labels]:
    labels = checked_labels([label for _, label in files], classes, tree.where(WNIDS))
    images = np.empty((len(files), 3, pixels, pixels), np.uint8)
    for row, (name, _) in enumerate(files):
        images[row] = picture(tree.read(name), pixels, tree.where(name))
    return images, labels
