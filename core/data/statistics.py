"""Mean and deviation of a data set whose publisher names none."""

import numpy as np

from core.data.readers import Images

Channels = tuple[float, float, float]

_AT_ONCE = 4096  # images
_SMALLEST = 1 / 255  # of a deviation: a black channel is divided by something


def channel_statistics(images_NCHW: Images) -> tuple[Channels, Channels]:
    """Mean and standard deviation per channel of pixels scaled to 0..1, to four decimals.

    Counted in whole numbers, so that every machine comes to the same.
    """
    counts_CV = np.zeros((3, 256), np.int64)
    for start in range(0, len(images_NCHW), _AT_ONCE):
        part = images_NCHW[start : start + _AT_ONCE]
        counts_CV += [np.bincount(part[:, channel].reshape(-1), minlength=256) for channel in range(3)]
    values_V, total = np.arange(256), int(counts_CV[0].sum())
    mean_C = counts_CV @ values_V / total
    variance_C = counts_CV @ values_V**2 / total - mean_C**2
    return _rounded(mean_C / 255), _rounded(np.sqrt(variance_C.clip(0)) / 255, at_least=_SMALLEST)


def _rounded(values_C: np.ndarray, at_least: float = 0.0) -> Channels:
    red, green, blue = (round(max(float(value), at_least), 4) for value in values_C)
    return red, green, blue
