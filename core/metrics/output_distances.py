"""How far a model's outputs lie from Retrain's on a sample of a set (ALGORITHMS 9.5)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from core.lazy import Tensor
from core.metrics.distances import activation_distance, js_divergence

Outputs = Mapping[str, Tensor]  # probabilities by set, see core.metrics.outputs
Between = Callable[[Outputs, Outputs], float | None]


def activation_on(name: str) -> Between:
    """The metric of mean L2 distances of probabilities on a set of images; at most √2."""
    return lambda ours, retrains: _on(name, activation_distance, ours, retrains)


def js_on(name: str) -> Between:
    """The metric of mean Jensen-Shannon divergences on a set of images; at most ln 2."""
    return lambda ours, retrains: _on(name, js_divergence, ours, retrains)


def _on(
    name: str, distance: Callable[[Tensor, Tensor], float], ours: Outputs, retrains: Outputs
) -> float | None:
    """None where one of the models has no outputs on the set."""
    if name not in ours or name not in retrains:
        return None
    return distance(ours[name].float(), retrains[name].float())
