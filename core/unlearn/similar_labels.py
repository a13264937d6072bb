"""Similar Labels: which wrong class an image to forget is trained on (the paper, section 4.1)."""

from __future__ import annotations

from core.lazy import Tensor, torch


def similar_labels(probabilities_NK: Tensor, labels_N: Tensor) -> Tensor:
    """The class whose probability is nearest to the true label's, never the true label (eq. 7-8).

    Args:
        probabilities_NK: softmax outputs.
        labels_N: true labels, int64.

    Returns: int64 N; for a correct prediction it is the runner-up class. The lower class wins a tie.
    """
    true_N1 = probabilities_NK.gather(1, labels_N[:, None])
    distance_NK = (probabilities_NK - true_N1).abs()
    return distance_NK.scatter(1, labels_N[:, None], torch.inf).argmin(1)


def released_labels(logits_NK: Tensor, labels_N: Tensor) -> Tensor:
    """What the published code computes: |logit - probability|, and an index that was never shifted back."""
    true_N1 = logits_NK.softmax(1).gather(1, labels_N[:, None])
    distance_NK = (logits_NK - true_N1).abs().scatter(1, labels_N[:, None], torch.inf)
    nearest_N = distance_NK.argmin(1)
    return nearest_N - (nearest_N > labels_N).long()
