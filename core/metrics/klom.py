"""KLoM (Georgiev et al. 2025): how far the margins of unlearned models lie from those of retrained ones, per image."""

from typing import Any

import numpy as np

from core.errors import BadInput
from core.metrics.many_models import sides

LARGEST = 100.0  # of a margin, either way
FLOOR = 1e-5  # the least probability of an oracle's bin that unlearned models fall into


def klom(unlearned_MN: Any, oracle_MN: Any, bins: int = 20) -> np.ndarray:
    """KL(unlearned ‖ oracle) of histograms of each image's margins, in nats; 0: the same histogram.

    The bins divide the range of both together, the largest value in the last one. (The published code leaves it out.)
    Two sets of retrained models are not at 0: the fewer models, the more bins of one are empty in the other, each
    charged at the floor. 5.5 for 10 models, 0.87 for 50 and 0.05 for 500 at 20 bins.

    Args:
        unlearned_MN, oracle_MN: margins; what is beyond ±100 counts as ±100.

    Raises:
        BadInput: for no models, other images on one side, margins that are not finite, or no bins.
    """
    if bins < 1:
        raise BadInput(f"bins={bins}: a histogram has at least 1")
    both = sides(unlearned_MN, oracle_MN, ("unlearned", "oracle"), 1)
    unlearned, oracle = (np.clip(side, -LARGEST, LARGEST) for side in both)
    edges = _edges(
        np.minimum(unlearned.min(0), oracle.min(0)), np.maximum(unlearned.max(0), oracle.max(0)), bins
    )
    p_NB, q_NB = _histogram(unlearned, edges), _histogram(oracle, edges)
    q_NB = np.where(p_NB > 0, np.maximum(q_NB, FLOOR), q_NB)
    q_NB /= q_NB.sum(1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(p_NB > 0, p_NB * np.log(p_NB / q_NB), 0.0).sum(1)


def _edges(low_N: np.ndarray, high_N: np.ndarray, bins: int) -> np.ndarray:
    """N x (bins + 1); one unit wide where all margins of an image are the same."""
    return np.linspace(low_N, np.where(high_N > low_N, high_N, low_N + 1), bins + 1, axis=1)


def _histogram(values_MN: np.ndarray, edges_NE: np.ndarray) -> np.ndarray:
    """Shares by bin, N x bins, as `np.histogram` counts: bins closed on the left, the last one on both sides."""
    images, bins = len(edges_NE), edges_NE.shape[1] - 1
    rows = np.arange(images)
    low, width = edges_NE[:, 0], edges_NE[:, -1] - edges_NE[:, 0]
    found = np.zeros(images * bins)
    for values_N in values_MN:  # one model at a time: its arrays stay in the cache
        bin_N = np.minimum(((values_N - low) / width * bins).astype(np.int64), bins - 1)
        bin_N -= (values_N < edges_NE[rows, bin_N]) & (bin_N > 0)
        bin_N += (values_N >= edges_NE[rows, bin_N + 1]) & (bin_N < bins - 1)
        found[rows * bins + bin_N] += 1
    return found.reshape(images, bins) / len(values_MN)
