"""What an audit costs once its models are there."""

import resource
from functools import partial

import numpy as np

from core.metrics.audit import ATTACKS, Evidence, Side, audited
from tests.bench.measure import Comparison, Effort, Target, side_by_side

LIMIT = 30.0  # seconds
MEMORY = 4.0  # GB
SORT = "a sort of the margins"
_FIGURES = {"fa": 60.0, "ra": 95.0, "ta": 58.0, "mia": 45.0}


def audit(effort: Effort) -> list[Comparison]:
    """Every attack with its floors, on 10,000 forgotten, retained and test images each by 512 models, in 4 GB.

    The margins are drawn: an image is a standard deviation surer where models had forgotten it.
    """
    models, images = (8, 60) if effort.tiny else (512, 10_000)
    evidence = _evidence(models, images)
    found = [_measured(name, evidence, effort.repeats) for name in ATTACKS]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    assert peak < MEMORY or effort.tiny, f"{peak:.1f} GB"
    return found


def _measured(name: str, evidence: Evidence, repeats: int) -> Comparison:
    """An attack beside one sort of all margins, which says what size it is about."""
    run = partial(audited, evidence, [name], np.random.default_rng(0))
    sort = partial(np.sort, evidence.subject.forget, axis=0)
    return Comparison(
        "audit",
        f"{ATTACKS[name].title}, {evidence.models:,} models, {evidence.inside.shape[1]:,} images",
        "audit",
        side_by_side({SORT: sort, name: run}, repeats, warm_ups=0),
        target=Target(name, "seconds", LIMIT),
    )


def _evidence(models: int, images: int) -> Evidence:
    random = np.random.default_rng(0)
    first = random.random((models // 2, images)) < 0.5
    first[0] = True
    inside = np.stack([first, ~first], 1).reshape(models, images)

    def side(trace: float) -> Side:
        margins = [random.normal(0, 1, (models, images)).astype(np.float32) for _ in range(3)]
        margins[0] += np.float32(trace) * inside
        return Side(*margins, [_FIGURES] * models)

    return Evidence(side(1.0), side(0.0), inside)
