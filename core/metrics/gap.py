"""AG: how far a model's four figures lie from Retrain's; and what a mismatched split does to accuracies."""

from collections.abc import Mapping

FIGURES = ("fa", "ra", "ta", "mia")


def average_gap(metrics: Mapping[str, float], reference: Mapping[str, float]) -> float:
    """Mean absolute difference over FA, RA, TA and MIA, in percentage points; 0 for the reference itself."""
    return sum(abs(metrics[name] - reference[name]) for name in FIGURES) / len(FIGURES)


def mismatched_accuracy(train_accuracy: float, test_accuracy: float, share: float = 0.1) -> float:
    """FA and RA to expect of an almost unchanged original under mismatched splits, in percent.

    In the released code the original's pool and the pool that is divided into forget and retain set are drawn
    with different seeds, so that about the validation share of either set are images that the original never
    saw and treats like test images (ALGORITHMS section 1, split mismatch).

    Args:
        train_accuracy, test_accuracy: of the original, in percent; the first on what it was trained on.
        share: of the forget and retain set that lies outside the original's pool, 0 to 1.
    """
    return (1 - share) * train_accuracy + share * test_accuracy
