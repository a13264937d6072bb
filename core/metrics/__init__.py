"""Figures of one model, from what it says about images: accuracies, attack, distances, gaps, activation maps.

Pure functions over stored predictions wherever possible, so that a figure can be computed again without a network.
Knows nothing of methods.
"""

from typing import TYPE_CHECKING

from core.door import door

if TYPE_CHECKING:
    from core.metrics.gap import FIGURES as FIGURES, average_gap as average_gap
    from core.metrics.grad_cam import activation_maps as activation_maps
    from core.metrics.mia import svc_mia as svc_mia
    from core.metrics.outputs import DISTANCES as DISTANCES, OUTPUTS as OUTPUTS, SETS as SETS
    from core.metrics.predictions import Predictions as Predictions
    from core.metrics.sample import RetainSample as RetainSample
else:
    __getattr__, __dir__, __all__ = door(__name__, __file__)
