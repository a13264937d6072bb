"""Label flipping with layer-wise partial updates (Graves et al. 2021; Gogineni & Nadimi 2024).

Every image to forget gets one wrong label, once, and training goes on with all data; RL draws new ones for each epoch.
Each update moves only a share of every layer's entries (`PartialUpdates`), which is to spare the retained data.
"""

from __future__ import annotations

import copy

from core.data import batches, concat
from core.lazy import nn, torch
from core.train import OnEpoch, Positive, fit
from core.unlearn.base import Method, Problem, Range
from core.unlearn.gradient_norms import gradient_probe
from core.unlearn.partial import PartialParams, PartialUpdates
from core.unlearn.random_labels import random_labels


class LabelFlipParams(PartialParams):
    """Few epochs, as published, there with Adam; the loop here is SGD."""

    epochs: Positive = 3


def label_flip(
    problem: Problem, params: LabelFlipParams, generator: torch.Generator, on_epoch: OnEpoch | None = None
) -> nn.Module:
    """Trains on everything, the forget set under labels that are wrong and stay the same."""
    labels_N = random_labels(problem.forget.labels, problem.classes, generator, true_label_possible=False)
    forget = problem.forget.relabelled(labels_N)
    model = copy.deepcopy(problem.model)
    partial = PartialUpdates(model, params, generator)
    everything = concat(forget, problem.retain)
    return fit(
        model,
        lambda _epoch: batches(everything, params.batch_size, problem.augment, generator),
        params,
        generator,
        on_gradient=partial.mask_gradients,
        on_update=partial.hold_others,
        epoch_facts=gradient_probe(model, problem, params, lambda: forget),
        on_epoch=on_epoch,
        callbacks=problem.callbacks,
        memory=partial,
    )


def _space(_arch: str) -> dict[str, Range]:
    # no range is published: RL's learning rates, and shares from a hundredth to everything
    return {"lr": Range(1e-3, 1e-1), "fraction": Range(0.01, 1.0)}


METHOD = Method("label_flip", "Label flipping", LabelFlipParams, _space, label_flip)
