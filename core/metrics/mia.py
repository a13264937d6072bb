"""The membership inference attack of the tables: an SVC on confidence (ALGORITHMS section 5)."""

import numpy as np


def svc_mia(
    retain_confidence: np.ndarray, test_confidence: np.ndarray, forget_confidence: np.ndarray
) -> float:
    """Percent of forget samples that an attacker judges NON-members; compare with Retrain's, higher is not better.

    The attacker knows the model's probability of the true label. It learns members from the first retained
    samples in dataset order and non-members from test samples, equally many of each (the published code
    fails when fewer are retained than tested; here both sides are cut to the shorter). SVC with RBF kernel,
    C = 3, gamma "auto" (1 for one feature), no scaling, as published.

    Args:
        retain_confidence, test_confidence, forget_confidence: one probability per sample, any lengths > 0.
    """
    from sklearn.svm import SVC  # a second of import that planning and reporting need not wait for

    n = min(len(retain_confidence), len(test_confidence))
    feature = np.concatenate([retain_confidence[:n], test_confidence[:n]])[:, None].astype(np.float64)
    member = np.repeat([1, 0], n)
    attacker = SVC(C=3.0, kernel="rbf", gamma="auto").fit(feature, member)
    judged = attacker.predict(np.asarray(forget_confidence, dtype=np.float64)[:, None])
    return 100.0 * (1.0 - float(judged.mean()))
