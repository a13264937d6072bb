"""LiRA (Carlini et al. 2022), and U-LiRA (Hayes et al. 2024): what the margins of many models say about each image.

Each fits normals to an image's margins under models that had it and models that had not.
"""

from typing import Any

import numpy as np

from core.metrics.many_models import log_normal, same_images, side, sides


def online(target_N: Any, in_MN: Any, out_MN: Any, fixed_variance: bool = False) -> np.ndarray:
    """Log likelihood ratio of in against out for each image of one model; higher: member.

    Centres are medians, deviations population ones (ddof = 0), one margin per image, as in the published plotting
    code. Deliberate deviation: with fixed variance that code takes the deviation of the models that had the image for
    both sides.

    Args:
        target_N: margins of the model under attack.
        in_MN, out_MN: margins of models that trained on the image, and of models that did not. Which models those are
            may differ from image to image.
        fixed_variance: each side has one deviation, over all its models and images; better below some 64 models.

    Raises:
        BadInput: for no models, other images on one side, or margins that are not finite.
    """
    members, others = sides(in_MN, out_MN, ("in", "out"), 1)
    target = _target(target_N, members)
    within = _log_likelihood(target, members, fixed_variance)
    return within - _log_likelihood(target, others, fixed_variance)


def offline(target_N: Any, out_MN: Any) -> np.ndarray:
    """(target - centre) / deviation of models that had not the image; higher: member. Raises BadInput as `online`."""
    others = side(out_MN, "out", 1)
    target = _target(target_N, others)
    return (target - np.median(others, 0)) / (others.std(0) + 1e-30)


def u_lira(unlearned_MN: Any, retrained_MN: Any) -> np.ndarray:
    """How often each image's margin tells unlearned from retrained models, 0 to 1; 0.5: no trace.

    Every model is judged once, by normals (ddof = 1) fitted to all models but itself, and called unlearned where
    theirs is the higher density; an equal one counts half. Both sides weigh the same, however many models they have.
    (A published implementation fits correct and incorrect predictions instead of margins and judges models that it
    fitted to, by which the accuracy is 5 points too high.)

    Args:
        unlearned_MN, retrained_MN: margins, at least 3 models each.

    Raises:
        BadInput: for fewer models, other images on one side, or margins that are not finite.
    """
    unlearned, retrained = sides(unlearned_MN, retrained_MN, ("unlearned", "retrained"), 3)
    return (_recognised(unlearned, retrained) + _recognised(retrained, unlearned)) / 2


def _target(target_N: Any, models_MN: np.ndarray) -> np.ndarray:
    target = side(np.asarray(target_N)[None], "target", 1)[0]
    same_images(target, models_MN, ("target", "the other models"))
    return target


def _log_likelihood(target_N: np.ndarray, models_MN: np.ndarray, fixed: bool) -> np.ndarray:
    deviation = np.broadcast_to(models_MN.std(), target_N.shape) if fixed else models_MN.std(0)
    return log_normal(target_N, np.median(models_MN, 0), deviation)


def _recognised(own_MN: np.ndarray, other_MN: np.ndarray) -> np.ndarray:
    """The share of one side's models, each left out of its own side's normal, that are taken for what they are."""
    own = log_normal(own_MN, *_left_out(own_MN))
    other = log_normal(own_MN, other_MN.mean(0), other_MN.std(0, ddof=1))
    return ((own > other) + 0.5 * (own == other)).mean(0)


def _left_out(models_MN: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation of all models but each one: of squares about the mean M/(M-1) of its own is left out."""
    count = len(models_MN)
    mean = models_MN.mean(0)
    away = models_MN - mean
    squares = (away**2).sum(0) - away**2 * (count / (count - 1))
    return mean - away / (count - 1), np.sqrt(np.maximum(squares, 0) / (count - 2))
