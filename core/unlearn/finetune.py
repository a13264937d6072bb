"""FT: fine-tune the original on the retained data and let it forget the rest by itself."""

import copy

import torch
from torch import nn

from core.data.loader import batches
from core.train import OnEpoch, TrainParams, fit
from core.unlearn.base import Method, Problem, lr_range


def finetune(
    problem: Problem, params: TrainParams, generator: torch.Generator, on_epoch: OnEpoch | None = None
) -> nn.Module:
    """Cross-entropy on the retain set; the forget set is never read."""
    return fit(
        copy.deepcopy(problem.model),
        lambda _epoch: batches(problem.retain, params.batch_size, problem.augment, generator),
        params,
        generator,
        on_epoch=on_epoch,
    )


METHOD = Method("ft", "FT", TrainParams, lr_range(1e-3, 1e-1), finetune, released={"decay_quantizers": True})
