"""The membership attack on a model, and what the same confidences say without its SVC.

The SVC gives a yes or no for each image and can be bistable: where confidences of members and non-members hardly
differ, which side of its boundary nearly all images lie on is a matter of chance, and MIA jumps between 0 and 100.
AUC and TPR need no boundary; `separation` and `swing` say how much MIA is worth.
"""

import numpy as np

from core.metrics.metric import Estimate, SetMargins, SetPredictions
from core.metrics.mia import svc_mia
from core.metrics.predictions import Predictions
from core.metrics.roc import Counts, Statistic, area, bootstrap, counted, share_found

FALSE_ALARMS = 0.01
_SEED = 20_260_101  # of the bootstrap, the same for every model


def mia(seen: SetPredictions) -> float:
    """Percent of forgotten images that the attack takes for never seen, with test images as non-members."""
    return _attacked(seen, seen.test)


def mia_on_validation(seen: SetPredictions) -> float | None:
    """The same with validation images as non-members, which selection reads; None where the grid has none."""
    return _attacked(seen, seen.validation) if len(seen.validation) else None


def auc(seen: SetPredictions) -> Estimate:
    """How often a forgotten image is given more confidence than a test image, in percent; 50: no trace."""
    return _of_forgotten(seen, area)


def tpr(seen: SetPredictions) -> Estimate:
    """Percent of forgotten images found at a threshold that at most 1 % of the test images exceed; 1: no trace."""
    return _of_forgotten(seen, lambda counts: share_found(counts, FALSE_ALARMS))


def margin_auc(seen: SetMargins) -> Estimate:
    """How often a forgotten image has a greater margin than a test image, in percent; 50: no trace."""
    found = bootstrap(_counts(seen.forget, seen.test), area, np.random.default_rng(_SEED))
    return _in_percent(found)


def separation(seen: SetPredictions) -> float:
    """AUC in percent of what the attack learns from, retained and test images; near 50 there is nothing to learn."""
    known = min(len(seen.retain), len(seen.test))
    return 100 * area(_counts(seen.retain.confidence[:known], seen.test.confidence[:known]))


def swing(seen: SetPredictions) -> float | None:
    """How far MIA moves, in points, when the attack learns from every second image alone, the odd or the even.

    None where a half would be without images.
    """
    known = min(len(seen.retain), len(seen.test))
    if known < 2:
        return None
    retain, test = seen.retain.confidence[:known], seen.test.confidence[:known]
    halves = [svc_mia(retain[k::2], test[k::2], seen.forget.confidence) for k in (0, 1)]
    found = [mia(seen), *halves]
    return max(found) - min(found)


def _attacked(seen: SetPredictions, outside: Predictions) -> float:
    return svc_mia(seen.retain.confidence, outside.confidence, seen.forget.confidence)


def _of_forgotten(seen: SetPredictions, statistic: Statistic) -> Estimate:
    """A statistic of forgotten against test images in percent, with its interval."""
    counts = _counts(seen.forget.confidence, seen.test.confidence)
    return _in_percent(bootstrap(counts, statistic, np.random.default_rng(_SEED)))


def _in_percent(found: Estimate) -> Estimate:
    return Estimate(*(100 * value for value in found))


def _counts(members: np.ndarray, others: np.ndarray) -> Counts:
    side = np.repeat([True, False], [len(members), len(others)])
    return counted(np.concatenate([members, others]), side)
