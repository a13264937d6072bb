"""NoMUS (Choi & Na 2023): accuracy and unlearning in one number."""

import numpy as np

from core.errors import BadInput


def nomus(test_accuracy: float, attack_accuracy: float) -> float:
    """½ · test accuracy + ½ · (1 - 2 |attack accuracy - ½|), all of them 0 to 1; 1 is best.

    attack_accuracy: of an attack that tells forgotten from unseen images, by their losses; 0.5 is a coin.
    Raises BadInput for percentages.
    """
    for name, value in (("test_accuracy", test_accuracy), ("attack_accuracy", attack_accuracy)):
        if not 0 <= value <= 1:
            raise BadInput(f"{name}={value:g}: NoMUS takes shares of 0 to 1")
    return test_accuracy / 2 + (1 - 2 * abs(attack_accuracy - 0.5)) / 2


def attack_accuracy(forget_loss_N: np.ndarray, unseen_loss_M: np.ndarray, folds: int = 10) -> float:
    """How well a logistic regression on one loss tells forgotten from unseen images, 0 to 1.

    The mean over stratified folds, on as many of one side as of the other, evenly spread over the longer one.
    Raises BadInput for fewer images than folds.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_score

    count = min(len(forget_loss_N), len(unseen_loss_M))
    if count < folds:
        raise BadInput(f"NoMUS divides {count} images of a side into {folds} folds")
    both = [_evenly(np.asarray(losses, np.float64), count) for losses in (forget_loss_N, unseen_loss_M)]
    side = np.repeat([1, 0], count)
    ways = StratifiedKFold(folds, shuffle=True, random_state=0)
    found = cross_val_score(LogisticRegression(), np.concatenate(both)[:, None], side, cv=ways)
    return float(found.mean())


def _evenly(values: np.ndarray, count: int) -> np.ndarray:
    return values[np.arange(count) * len(values) // count]
