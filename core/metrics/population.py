"""The population attack (Yeom et al. 2018; Ye et al. 2022): one threshold for all images, from images never seen."""

from typing import Any

import numpy as np

from core.errors import BadInput
from core.metrics.many_models import side


def population(target_N: Any, unseen_P: Any) -> np.ndarray:
    """The share of unseen images with a smaller margin under the same model, 0 to 1; higher: member.

    One minus it is the share of false alarms at the threshold that just takes the image for a member.

    Raises:
        BadInput: for no unseen images, or margins that are not finite.
    """
    target, unseen = (side(np.asarray(values)[None], "margins", 1)[0] for values in (target_N, unseen_P))
    if not len(unseen):
        raise BadInput("the population attack needs images that no model has seen")
    return np.searchsorted(np.sort(unseen), target, side="left") / len(unseen)
