"""The membership inference attack of the tables: an SVC on confidence (ALGORITHMS section 5)."""

import numpy as np

from core.errors import BadInput
from core.metrics.svm import TrainedSVC, train_svc

_NODES = 24  # of the interpolation; its own error is then far below that of the sums it interpolates
_MARGIN = 1e-3  # a hundred times what rounding can do to a decision of 50,000 support vectors


def svc_mia(
    retain_confidence: np.ndarray, test_confidence: np.ndarray, forget_confidence: np.ndarray
) -> float:
    """Percent of forget samples that an attacker judges NON-members; compare with Retrain's, higher is not better.

    The attacker knows the model's probability of the true label. It learns members from the first retained
    samples in dataset order and non-members from test samples, equally many of each (the published code
    fails when fewer are retained than tested; here both sides are cut to the shorter). SVC with RBF kernel,
    C = 3, gamma "auto" (1 for one feature), no scaling, as published.

    Every prediction is that of scikit-learn's `SVC(C=3, kernel="rbf", gamma="auto").fit(X, y).predict(F)`:
    `train_svc` takes the steps of its solver with its numbers, and `members` leaves out only work that cannot
    change an answer. Ways to train that merely end at the same optimum were tried, and none agrees to the
    last sample everywhere: with equal samples merged by sample_weight 16 of 4,500 predictions differ at
    10,000 + 10,000 samples of 257 levels, without shrinking 1 of 450 at 1,000 + 1,000 of them, with oneDAL
    5 of 4,500 where nearly all confidences are 1.

    Args:
        retain_confidence, test_confidence, forget_confidence: one probability (0-1) per sample, any lengths > 0.

    Raises:
        BadInput: for a confidence that is no probability.
    """
    for confidence in (retain_confidence, test_confidence, forget_confidence):
        if not ((confidence >= 0) & (confidence <= 1)).all():
            raise BadInput(
                "the membership attack needs probabilities; the model gives some outside 0 to 1, or NaN"
            )
    n = min(len(retain_confidence), len(test_confidence))
    attacker = train_svc(test_confidence[:n], retain_confidence[:n])
    return 100.0 * (1.0 - float(members(attacker, forget_confidence).mean()))


def members(attacker: TrainedSVC, confidence: np.ndarray) -> np.ndarray:
    """Which samples an attacker predicts to be members, the negatives it was trained on (bool, one per sample).

    Its decision is a sum of Gaussians of one feature, each exp(-(x - c)²) with c and x in [0, 1], and a
    polynomial of degree n - 1 through n Chebyshev nodes is as good as exact: the error of n = 24 is below
    1e-22 of the coefficients' sum. So the decision is computed at the nodes alone, not between each sample
    and some 20,000 support vectors. Where it is too near 0 for its sign to be safe from rounding, it is
    summed up as libsvm does.

    Args:
        confidence: one probability (0-1) per sample.
    """
    values, where = np.unique(confidence.astype(np.float64), return_inverse=True)
    decision = np.polynomial.Chebyshev.interpolate(attacker.decisions, _NODES - 1, domain=[0, 1])(values)
    for k in np.flatnonzero(np.abs(decision) < _MARGIN):
        decision[k] = attacker.libsvm_decision(float(values[k]))
    return (decision <= 0)[where]
