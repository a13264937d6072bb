"""Distances between two models' outputs on the same samples (ALGORITHMS section 9.4-9.5)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod

from core.lazy import Tensor

_SMALLEST = 1e-12


def activation_distance(p_NK: Tensor, q_NK: Tensor) -> float:
    """Mean L2 distance of the probability vectors (bad-teacher and SSD convention); √2 for disjoint one-hots."""
    return float((p_NK - q_NK).norm(dim=1).mean())


def kl_divergence(p_NK: Tensor, q_NK: Tensor) -> float:
    """Mean over samples of KL(p || q), natural logarithm, probabilities clamped at 1e-12."""
    p, q = p_NK.clamp(min=_SMALLEST), q_NK.clamp(min=_SMALLEST)
    return float((p * (p.log() - q.log())).sum(1).mean())


def js_divergence(p_NK: Tensor, q_NK: Tensor) -> float:
    """Mean over samples of the Jensen-Shannon divergence, natural logarithm, in [0, ln 2]."""
    middle = (p_NK + q_NK) / 2
    return (kl_divergence(p_NK, middle) + kl_divergence(q_NK, middle)) / 2


def tug_of_war(metrics: Mapping[str, float], reference: Mapping[str, float]) -> float:
    """Product over FA, RA and TA of 1 - |gap|/100 (RUM); 1 is best."""
    return _product_of_gaps(metrics, reference, ("fa", "ra", "ta"))


def tug_of_war_mia(metrics: Mapping[str, float], reference: Mapping[str, float]) -> float:
    """The same with the gap of MIA in the place of FA's (ToW-MIA)."""
    return _product_of_gaps(metrics, reference, ("mia", "ra", "ta"))


def _product_of_gaps(
    metrics: Mapping[str, float], reference: Mapping[str, float], names: Sequence[str]
) -> float:
    return prod(1 - abs(metrics[name] - reference[name]) / 100 for name in names)
