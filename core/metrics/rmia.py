"""RMIA (Zarifzadeh et al. 2024), offline: is the model surer of an image than it is of others, given how hard it is?"""

from typing import Any

import numpy as np

from core.errors import BadInput
from core.metrics.many_models import same_images, side


def rmia(
    target_N: Any,
    references_RN: Any,
    population_target_P: Any,
    population_references_RP: Any,
    a: float = 0.3,
    gamma: float = 1.0,
) -> np.ndarray:
    """The share of population images z with [p(x|θ) / p(x)] / [p(z|θ) / p(z)] > γ, 0 to 1; higher: member.

    p(x) = ½ [(1 + a) · mean over the references + (1 - a)]: what models with and without the image would say on
    average, guessed from those without it alone. All references are used. (The published code keeps the largest where
    there are more than it was asked for, and averages zeros in where there are fewer.)

    Args:
        target_N: the probabilities that the model under attack gives to the true labels.
        references_RN: those of models that have not seen the images.
        population_target_P, population_references_RP: the same on images that no model has seen, such as test images.

    Raises:
        BadInput: for no references or population, shapes that do not fit together, or values that are no probabilities.
    """
    ratio_N = _ratio(target_N, references_RN, a)
    ratio_P = np.sort(_ratio(population_target_P, population_references_RP, a))
    if not len(ratio_P):
        raise BadInput("RMIA needs a population: images that no model has seen")
    return np.searchsorted(ratio_P, ratio_N / gamma, side="left") / len(ratio_P)


def _ratio(target_N: Any, references_RN: Any, a: float) -> np.ndarray:
    """p(x|θ) / p(x)."""
    target = side(np.asarray(target_N)[None], "target", 1)[0]
    references = side(references_RN, "references", 1)
    same_images(target, references, ("target", "references"))
    for values in (target, references):
        if ((values < 0) | (values > 1)).any():
            raise BadInput("RMIA needs probabilities; some are outside 0 to 1")
    expected = ((1 + a) * references.mean(0) + (1 - a)) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.nan_to_num(target / expected, nan=1.0, posinf=np.inf)  # 0 / 0: as sure as expected
