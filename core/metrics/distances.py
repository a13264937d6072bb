"""Distances between two models' outputs on the same samples (ALGORITHMS section 9.4-9.5)."""

from __future__ import annotations

from collections.abc import Mapping
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
    gaps = (abs(metrics[name] - reference[name]) for name in ("fa", "ra", "ta"))
    return prod(1 - gap / 100 for gap in gaps)
