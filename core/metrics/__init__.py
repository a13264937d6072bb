"""Figures of one model, from what it says about images: accuracies, attack, distances, gaps, activation maps.

`METRICS` is their registry: a metric is a file with its function and an entry there. Pure functions over stored
predictions wherever possible, so that a figure can be computed again without a network. Knows nothing of methods.
"""

from typing import TYPE_CHECKING

from core.door import door

if TYPE_CHECKING:
    from core.metrics import audit as audit, outputs as outputs, predictions as predictions
    from core.metrics.gap import FIGURES as FIGURES, average_gap as average_gap
    from core.metrics.grad_cam import activation_maps as activation_maps
    from core.metrics.metric import (
        FURTHER as FURTHER,
        MAIN as MAIN,
        Better as Better,
        Estimate as Estimate,
        Metric as Metric,
        SetMargins as SetMargins,
        SetPredictions as SetPredictions,
        Source as Source,
    )
    from core.metrics.mia import svc_mia as svc_mia
    from core.metrics.outputs import OUTPUTS as OUTPUTS
    from core.metrics.predictions import Predictions as Predictions
    from core.metrics.registry import (
        METRICS as METRICS,
        all_columns as all_columns,
        columns as columns,
        measure as measure,
    )
    from core.metrics.sample import RetainSample as RetainSample
else:
    __getattr__, __dir__, __all__ = door(__name__, __file__)
