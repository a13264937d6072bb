"""FT: fine-tune the original on the retained data and let it forget the rest by itself."""

from __future__ import annotations

import copy

from core.data import batches
from core.lazy import nn, torch
from core.train import OnEpoch, fit
from core.unlearn.base import Method, Problem, UnlearnParams, lr_range
from core.unlearn.gradient_norms import gradient_probe
from core.unlearn.passes import retain_set


def finetune(
    problem: Problem, params: UnlearnParams, generator: torch.Generator, on_epoch: OnEpoch | None = None
) -> nn.Module:
    """Cross-entropy on the retain set; the forget set is read by the probe alone, if it is on."""
    model = copy.deepcopy(problem.model)
    return fit(
        model,
        lambda _epoch: batches(problem.retain, params.batch_size, problem.augment, generator),
        params,
        generator,
        epoch_facts=gradient_probe(model, problem, params),
        callbacks=problem.callbacks,
        on_epoch=on_epoch,
    )


METHOD = Method(
    "ft",
    "FT",
    UnlearnParams,
    lr_range(1e-3, 1e-1),
    finetune,
    released={"decay_quantizers": True},
    passes=retain_set,
)
