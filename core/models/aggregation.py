"""One answer out of several networks'."""

from __future__ import annotations

import math
from typing import Literal

from core.lazy import F, Tensor, torch

Aggregate = Literal["vote", "mean"]
_NO_VOTE = 1e-12  # in the place of no vote at all, so that logarithms are finite


def aggregate(logits_SNK: Tensor, how: Aggregate) -> Tensor:
    """Log-probabilities NK from the logits of S networks.

    mean averages their probabilities; vote counts for each class how many networks predict it, as a share. argmax
    takes the lowest class where several have most votes.
    """
    if how == "mean":
        return torch.logsumexp(logits_SNK.log_softmax(2), 0) - math.log(len(logits_SNK))
    classes = logits_SNK.shape[2]
    votes_NK = F.one_hot(logits_SNK.argmax(2), classes).sum(0).to(logits_SNK.dtype)
    return ((votes_NK + _NO_VOTE) / (len(logits_SNK) + classes * _NO_VOTE)).log()
