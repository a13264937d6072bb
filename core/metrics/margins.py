"""The margin of an image: how sure a model is of its true label, without the ceiling that probabilities have."""

from typing import Any

import numpy as np

from core.errors import BadInput


def margins(logits_NK: Any, labels_N: Any) -> np.ndarray:
    """log p_y - log(1 - p_y) of every image, from its logits: z_y - logsumexp of the others; float64, N.

    At once the logit-scaled confidence of LiRA and the margin of KLoM. From a float32 probability it could not be
    had: 1 - p is 0 from a margin of 16.6 on.

    Args:
        logits_NK: one row per image, K at least 2.
        labels_N: true labels, 0 to K - 1.

    Raises:
        BadInput: for fewer than two classes, or labels that are not of these images.
    """
    logits, labels = np.asarray(logits_NK, np.float64), np.asarray(labels_N, np.int64)
    if logits.ndim != 2 or logits.shape[1] < 2:
        raise BadInput(f"a margin needs logits of at least 2 classes, these have the shape {logits.shape}")
    if labels.shape != logits.shape[:1] or ((labels < 0) | (labels >= logits.shape[1])).any():
        raise BadInput(f"labels of {len(logits)} images are 0 to {logits.shape[1] - 1}, one for each")
    rows = np.arange(len(logits))
    others = logits.copy()
    others[rows, labels] = -np.inf
    largest = others.max(1)
    return logits[rows, labels] - largest - np.log(np.exp(others - largest[:, None]).sum(1))
