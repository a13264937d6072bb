"""ZRF (Chundawat et al., AAAI 2023): how much like a network that never learned anything a network behaves."""

from typing import Any

import numpy as np

from core.errors import BadInput


def zrf(p_NK: Any, random_NK: Any) -> float:
    """1 - mean Jensen-Shannon divergence in bits to a random network's outputs, 0 to 1; 1: just as random.

    What to compare it with is Retrain's value, not 1. (The published code swaps the arguments of both divergences and
    averages over images times classes.)

    Args:
        p_NK, random_NK: probabilities, one row per image.

    Raises:
        BadInput: for shapes that differ, no images, or values that are no probabilities.
    """
    p, random = np.asarray(p_NK, np.float64), np.asarray(random_NK, np.float64)
    if p.ndim != 2 or p.shape != random.shape or not len(p):
        raise BadInput(
            f"ZRF compares images × classes of two networks, these are {p.shape} and {random.shape}"
        )
    if not all(((values >= 0) & (values <= 1 + 1e-6)).all() for values in (p, random)):
        raise BadInput("ZRF needs probabilities; some are outside 0 to 1")
    middle = (p + random) / 2
    return 1 - float((_divergence(p, middle) + _divergence(random, middle)).mean()) / 2


def _divergence(p_NK: np.ndarray, q_NK: np.ndarray) -> np.ndarray:
    """KL(p ‖ q) per row in bits, for a q that is nowhere 0 where p is not."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(p_NK > 0, p_NK * np.log2(p_NK / q_NK), 0.0).sum(1)
