"""scikit-learn's 1,797 handwritten digits: no file, no network; the data set of quick runs and tests."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from core.data.readers.source import Arrays, Images, Source, checked_labels
from core.data.subset import stratified
from core.lazy import F, torch

TEST = 360  # a fifth
BRIGHTEST = 16  # the images hold 0..16


@dataclass(frozen=True)
class Digits(Source):
    """The digits as the installed scikit-learn ships them, split once and for all."""

    words: ClassVar[str] = "scikit-learn"
    revision: ClassVar[int] = 1

    def wanted(self) -> tuple[str, ...]:
        """No file of the data root."""
        return ()

    def find(self, root: Path) -> tuple[Path, ...] | None:  # noqa: ARG002  it is in the package
        """No file, always there."""
        return ()

    def read(self, files: tuple[Path, ...], classes: int, pixels: int) -> Arrays:  # noqa: ARG002
        """Images up-sampled to `pixels`, the same stratified 80/20 split on every machine."""
        import sklearn.datasets  # seconds to import, and only the first decode needs it

        bunch = sklearn.datasets.load_digits()
        images, labels = (
            _enlarged(bunch.images, pixels),
            checked_labels(bunch.target, classes, "load_digits()"),
        )
        test = np.zeros(len(labels), dtype=bool)
        test[stratified(labels, TEST, entropy=(0,))] = True
        return Arrays(images[~test], labels[~test], images[test], labels[test])


def _enlarged(grey_NHW: np.ndarray, pixels: int) -> Images:
    """Values 0..16 (N, 8, 8) to uint8 (N, 3, pixels, pixels), bilinear, rounded once.

    In float64 the weights at twice the size (1/4, 3/4) are exact: no machine rounds another way.
    """
    values = torch.from_numpy(grey_NHW.astype(np.float64) * 255 / BRIGHTEST)[:, None]
    large = F.interpolate(values, size=(pixels, pixels), mode="bilinear", align_corners=False)
    return np.repeat(large.round().to(torch.uint8).numpy(), 3, axis=1)
