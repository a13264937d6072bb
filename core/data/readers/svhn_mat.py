"""SVHN, cropped digits, as published: two MATLAB files with X (32, 32, 3, N) and y (N, 1), 10 meaning 0."""

from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import ClassVar

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
    unpublished,
)
from core.errors import BadInput

FILES = ("train_32x32.mat", "test_32x32.mat")


def published() -> Official:
    """The sums and addresses torchvision holds; its third file, `extra`, is not part of the benchmark."""
    import torchvision.datasets  # seconds to import, and only a first decode needs it

    known = [torchvision.datasets.SVHN.split_list[split] for split in ("train", "test")]
    return Official(
        md5={file: md5 for _, file, md5 in known},
        urls={file: url for url, file, _ in known},
    )


@dataclass(frozen=True)
class SvhnMat(Source):
    """The two .mat files, directly under the data root."""

    words: ClassVar[str] = "official archive"
    revision: ClassVar[int] = 1

    official: Callable[[], Official] = published

    def wanted(self) -> tuple[str, ...]:
        """Both files."""
        return FILES

    def find(self, root: Path) -> tuple[Path, ...] | None:
        """Both files, or None."""
        files = tuple(root / file for file in FILES)
        return files if all(path.is_file() for path in files) else None

    def read(self, files: tuple[Path, ...], classes: int, pixels: int) -> Arrays:
        """Decode both files; one that is not the published file is read all the same, and said to be another."""
        sums, contents = self.official().md5, [blob(file) for file in files]
        train, test = (
            _decode(data, file, classes, pixels) for data, file in zip(contents, files, strict=True)
        )
        found = (unpublished(data, sums[f.name], f) for data, f in zip(contents, files, strict=True))
        return Arrays(*train, *test, remarks=tuple(remark for remarks in found for remark in remarks))

    def remotes(self) -> tuple[Remote, ...]:
        """Both files."""
        return self.official().remotes()


def _decode(data: bytes, where: Path, classes: int, pixels: int) -> tuple[Images, Labels]:
    from scipy.io import loadmat  # half a second to import, and only the first decode needs it

    try:
        content = loadmat(BytesIO(data), variable_names=("X", "y"))
        x_HWCN, y = content["X"], content["y"].reshape(-1)
    except Exception as error:  # a damaged file can raise anything in scipy's reader
        raise BadInput(f"{where} is not a readable SVHN file ({type(error).__name__}: {error})") from error
    if x_HWCN.dtype != np.uint8 or x_HWCN.shape != (pixels, pixels, 3, len(y)):
        raise BadInput(f"{where} holds X {x_HWCN.dtype} {x_HWCN.shape} for {len(y)} labels")
    labels = checked_labels(np.where(y == 10, 0, y), classes, where)
    return np.ascontiguousarray(x_HWCN.transpose(3, 2, 0, 1)), labels
