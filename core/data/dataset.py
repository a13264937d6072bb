"""Datasets: where they lie, how they are read, and the arrays everything else works on."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from core.data.cache import cached
from core.data.catalog import DatasetInfo, dataset_info
from core.data.locate import decoded, identity, located
from core.data.readers import Images, Labels
from core.data.statistics import Channels, channel_statistics
from core.data.subset import kept_rows
from core.errors import BadInput
from core.lazy import torch


@dataclass(frozen=True)
class Dataset:
    """A dataset in memory-mapped arrays (private copies on write), ready for any device.

    Images are uint8 (N, 3, H, W), labels int64 (N,). `mean` and `std` are for pixels scaled to 0..1.
    `crop_padding` (pixels, 0 = none) and `flip` are the training augmentation. `digest` is the SHA-256 over
    the whole decoded dataset, before any limit; `source` says in words what it was read from, and which columns stood
    for images and labels where there was a choice. `remarks`: what a person should know of the files, a line each.
    """

    name: str
    train_images: torch.Tensor
    train_labels: torch.Tensor
    test_images: torch.Tensor
    test_labels: torch.Tensor
    classes: int
    mean: Channels
    std: Channels
    crop_padding: int
    flip: bool
    digest: str
    source: str
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Limit:
    """How many images to keep of each split; None keeps all."""

    train: int | None = None
    test: int | None = None


def load(
    name: str,
    root: Path | None,
    *,
    cache: Path | None = None,
    limit: Limit | None = None,
    seed: int = 0,
    download: bool = False,
    test_share: float | None = None,
) -> Dataset:
    """Read the dataset `name` from the first of its sources that lies under `root`, through the cache.

    Nothing but `cache` (default: `<root>/.unlearn-grid-cache`) is written, unless `download` brings files
    that lie nowhere under `root`. `limit` keeps a subset of each split in which the classes keep their
    proportions, drawn with `seed`. `test_share` (0..1): share of the training images that becomes the test split of a
    dataset without one, the same images for every seed. Raises BadInput, one line, for an unknown name, data that is
    missing or damaged (the line names the files and a way to get them), a dataset without test images of which no
    share is to be taken, and a limit below the number of classes.
    """
    info, limit = dataset_info(name), limit or Limit()
    _check(limit, name, info.classes)
    base = _base(info, root)
    source, files = located(info, base, download)
    arrays, digest = cached(
        cache or _default_cache(root),
        name,
        identity(info, source, files, base, test_share),
        partial(decoded, info, source, files, test_share),
    )
    classes = info.classes or int(arrays.train_labels.max()) + 1
    _check(limit, name, classes)
    mean, std = (info.mean, info.std) if info.mean and info.std else channel_statistics(arrays.train_images)
    return Dataset(
        name,
        *_taken(arrays.train_images, arrays.train_labels, limit.train, (seed, 0)),
        *_taken(arrays.test_images, arrays.test_labels, limit.test, (seed, 1)),
        classes=classes,
        mean=mean,
        std=std,
        crop_padding=info.crop_padding,
        flip=info.flip,
        digest=digest,
        source=f"{source.words}: {arrays.mapping}" if arrays.mapping else source.words,
        remarks=(*source.notice(files), *arrays.remarks),
    )


def _check(limit: Limit, name: str, classes: int) -> None:
    for split, size in (("train", limit.train), ("test", limit.test)):
        if size is not None and size < classes:
            raise BadInput(f"limit of {size} {split} images: {name} has {classes} classes, take as many")


def _base(info: DatasetInfo, root: Path | None) -> Path:
    """The data root, which only a dataset that needs no file can do without."""
    if root is None and all(source.wanted() for source in info.sources):
        raise BadInput(f"{info.name} needs a data root (data.root) to read its files from")
    return root if root is not None else Path()


def _default_cache(root: Path | None) -> Path:
    # of the user's own under the shared temporary folder
    alone = Path(tempfile.gettempdir()) / f"unlearn-grid-cache-{os.getuid()}"
    return alone if root is None else root / ".unlearn-grid-cache"


def _taken(
    images: Images, labels: Labels, size: int | None, entropy: tuple[int, int]
) -> tuple[torch.Tensor, torch.Tensor]:
    """The split, or a subset of `size` of it."""
    if size is not None and size < len(labels):
        kept = kept_rows(labels, size, entropy)
        images, labels = images[kept], labels[kept]
    return torch.from_numpy(images), torch.from_numpy(labels)
