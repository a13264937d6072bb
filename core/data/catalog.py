"""The datasets this project knows. Another one is another entry, and a reader if its format is new.

Beside them, `folder:NAME` is any folder of images and `table:NAME` any Parquet table of them,
`npz:NAME` any NumPy archive, whose classes and figures are read from it.
"""

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

from core.data.download import Remote
from core.data.readers import (
    CifarPickle,
    Digits,
    IdxFiles,
    ImageFolder,
    MedNpz,
    NpzArchive,
    ParquetTable,
    Source,
    SvhnMat,
    TinyFolder,
    organamnist,
    published_cifar,
    published_idx,
)
from core.data.statistics import Channels
from core.errors import BadInput
from core.registry import Registry

# data sets of one's own: the word before the colon, and the reader of what lies under the name after it
OWN: dict[str, Callable[[str], Source]] = {"folder": ImageFolder, "table": ParquetTable, "npz": NpzArchive}
_LIES = {
    "folder": "the folder flowers under the data root",
    "table": "the Parquet files in the folder flowers under the data root",
    "npz": "the file flowers.npz under the data root",
}
OWN_PIXELS = 64
_OWN = re.compile(r"(?P<kind>[a-z]+):(?P<name>[^./\\:\s][^/\\:]*)(:(?P<pixels>[0-9]{1,4}))?")
_SIDES = range(8, 513)  # pixels that such images may be brought to
_LONGEST = 200  # bytes of a name, which becomes a file's


@dataclass(frozen=True)
class DatasetInfo:
    """What is known of a dataset before it is read.

    `title`: in tables. `pixels`: side of the square images. `mean`, `std`: per channel, of pixels scaled to 0..1.
    `crop_padding`: pixels of padding for random crops in training, 0 = none. `flip`: random horizontal flips.
    `sources`: the places and formats it can lie in, tried in order. `train_size`, `test_size`: of the official split.
    `published_order`: how an epoch of the published unlearning code reads forget and retain images here, in
    one mixed pass or one set after the other (ALGORITHMS §3.3 S8).

    What nobody can know before reading is 0 (`classes`, sizes), or None (`mean`, `std`: measured on the training
    images).
    """

    name: str
    title: str
    classes: int
    pixels: int
    mean: Channels | None
    std: Channels | None
    crop_padding: int
    flip: bool
    sources: tuple[Source, ...]
    train_size: int
    test_size: int
    published_order: Literal["joint", "sequential"] = "joint"

    @property
    def downloads(self) -> tuple[Remote, ...]:
        """The files `data.download=true` brings."""
        return tuple(remote for source in self.sources for remote in source.remotes())


# mean and std: ALGORITHMS §1 (those of the published comparisons); for digits, of the training split
_HERE: dict[str, DatasetInfo] = {
    "digits": DatasetInfo(
        name="digits",
        title="Digits",
        classes=10,
        pixels=16,
        mean=(0.3053, 0.3053, 0.3053),
        std=(0.3185, 0.3185, 0.3185),
        crop_padding=0,
        flip=False,
        sources=(Digits(),),
        train_size=1437,
        test_size=360,
    ),
    "cifar10": DatasetInfo(
        name="cifar10",
        title="CIFAR-10",
        classes=10,
        pixels=32,
        mean=(0.4914, 0.4822, 0.4465),
        std=(0.2470, 0.2435, 0.2616),
        crop_padding=4,
        flip=True,
        sources=(
            CifarPickle(
                folder="cifar-10-batches-py",
                archive="cifar-10-python.tar.gz",
                train=tuple(f"data_batch_{number}" for number in range(1, 6)),
                test=("test_batch",),
                official=partial(published_cifar, "CIFAR10"),
            ),
            ParquetTable("cifar10"),
        ),
        train_size=50_000,
        test_size=10_000,
        published_order="sequential",
    ),
    "cifar100": DatasetInfo(
        name="cifar100",
        title="CIFAR-100",
        classes=100,
        pixels=32,
        mean=(0.5071, 0.4866, 0.4409),
        std=(0.2673, 0.2564, 0.2762),
        crop_padding=4,
        flip=True,
        sources=(
            CifarPickle(
                folder="cifar-100-python",
                archive="cifar-100-python.tar.gz",
                train=("train",),
                test=("test",),
                official=partial(published_cifar, "CIFAR100"),
            ),
            ParquetTable("cifar100"),
        ),
        train_size=50_000,
        test_size=10_000,
    ),
    "svhn": DatasetInfo(
        name="svhn",
        title="SVHN",
        classes=10,
        pixels=32,
        mean=(0.4377, 0.4438, 0.4728),
        std=(0.1980, 0.2010, 0.1970),
        crop_padding=0,
        flip=False,
        sources=(SvhnMat(), ParquetTable("svhn")),
        train_size=73_257,
        test_size=26_032,
        published_order="sequential",
    ),
    "tiny_imagenet": DatasetInfo(
        name="tiny_imagenet",
        title="Tiny-ImageNet",
        classes=200,
        pixels=64,
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
        crop_padding=8,
        flip=True,
        sources=(TinyFolder(), ParquetTable("tiny_imagenet")),
        train_size=100_000,
        test_size=10_000,
    ),
    "mnist": DatasetInfo(
        name="mnist",
        title="MNIST",
        classes=10,
        pixels=28,
        mean=(0.1307, 0.1307, 0.1307),
        std=(0.3081, 0.3081, 0.3081),
        crop_padding=0,
        flip=False,
        sources=(IdxFiles("mnist", "MNIST", partial(published_idx, "MNIST")), ParquetTable("mnist")),
        train_size=60_000,
        test_size=10_000,
    ),
    "fashion_mnist": DatasetInfo(
        name="fashion_mnist",
        title="Fashion-MNIST",
        classes=10,
        pixels=28,
        mean=(0.2860, 0.2860, 0.2860),
        std=(0.3530, 0.3530, 0.3530),
        crop_padding=0,
        flip=False,
        sources=(
            IdxFiles("fashion_mnist", "FashionMNIST", partial(published_idx, "FashionMNIST")),
            ParquetTable("fashion_mnist"),
        ),
        train_size=60_000,
        test_size=10_000,
    ),
    "organamnist": DatasetInfo(
        name="organamnist",
        title="OrganAMNIST",
        classes=11,
        pixels=28,
        mean=None,  # the figures in use for it contradict each other
        std=None,
        crop_padding=0,
        flip=False,
        sources=(MedNpz("organamnist", organamnist),),
        train_size=34_561,
        test_size=17_778,
    ),
}


DATASETS = Registry(
    "dataset", DatasetInfo, "unlearn_grid.datasets", _HERE, also=tuple(f"{own}:NAME" for own in OWN)
)


def dataset_info(name: str) -> DatasetInfo:
    """What is known of a dataset: an entry of DATASETS, from outside too, or `folder:NAME`, `table:NAME:PIXELS` …

    Raises BadInput, with the nearest valid name, for any other.
    """
    kind = name.partition(":")[0]
    if ":" not in name or kind not in OWN:
        return DATASETS[DATASETS.canonical(name)]
    found = _OWN.fullmatch(name)
    pixels = int(found["pixels"] or OWN_PIXELS) if found else 0
    if found is None or pixels not in _SIDES or not _is_file_name(found["name"]):
        raise BadInput(
            f"dataset {name!r:.80}: write {kind}:NAME, such as {kind}:flowers for {_LIES[kind]}, for images"
            f" of {OWN_PIXELS} px, or {kind}:NAME:PIXELS for {_SIDES[0]} to {_SIDES[-1]} px"
        )
    return DatasetInfo(
        name=name,
        title=f"{found['name']}, {pixels} px" if found["pixels"] else found["name"],
        classes=0,
        pixels=pixels,
        mean=None,
        std=None,
        crop_padding=0,
        flip=False,
        sources=(OWN[kind](found["name"]),),
        train_size=0,
        test_size=0,
    )


def _is_file_name(text: str) -> bool:
    """Whether a folder is called so by people: no control character in it, no space at its end, not too long."""
    odd = any(unicodedata.category(sign) in ("Cc", "Cs") for sign in text)
    return not odd and text == text.strip() and len(text.encode("utf-8", "replace")) <= _LONGEST
