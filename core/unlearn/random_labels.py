"""RL: train on everything, with random labels on the forget set (Golatkar et al. 2020)."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from itertools import chain
from typing import Literal

from core.data import Batch, Images, batches, concat
from core.lazy import Tensor, nn, torch
from core.train import OnEpoch, TrainParams, fit
from core.unlearn.base import Method, Problem, UnlearnParams, lr_range
from core.unlearn.gradient_norms import gradient_probe

Order = Literal["joint", "sequential"]


class RLParams(UnlearnParams):
    """Options beside the loop's.

    order: joint mixes both sets in one pass; sequential takes all of the forget set, then the retain set.
    true_label_possible: whether the draw may return the true label. The papers' equations exclude it,
    the published code does not.
    """

    order: Order = "joint"
    true_label_possible: bool = False


def random_labels(
    labels_N: Tensor, classes: int, generator: torch.Generator, true_label_possible: bool
) -> Tensor:
    """Uniform random labels, int64 N on the labels' device; never the true one unless it is possible."""
    if true_label_possible:
        return torch.randint(classes, labels_N.shape, generator=generator).to(labels_N.device)
    shift = torch.randint(1, classes, labels_N.shape, generator=generator).to(labels_N.device)
    return (labels_N + shift) % classes


def epoch_in_order(
    forget: Images,
    retain: Images,
    order: Order,
    params: TrainParams,
    problem: Problem,
    generator: torch.Generator,
) -> Iterator[Batch]:
    """One pass over relabelled forget images and retain images, mixed or one after the other."""

    def one_pass(images: Images) -> Iterator[Batch]:
        return batches(images, params.batch_size, problem.augment, generator)

    if order == "joint":
        return one_pass(concat(forget, retain))
    return chain(one_pass(forget), one_pass(retain))


class RelabelledEpochs:
    """The batches of an epoch, with labels drawn afresh for each.

    forget: the forget set under the labels of the epoch asked for last.
    """

    def __init__(self, problem: Problem, params: RLParams, generator: torch.Generator) -> None:
        self.problem, self.params, self.generator = problem, params, generator
        self.forget = problem.forget

    def __call__(self, _epoch: int) -> Iterator[Batch]:
        """Draws the labels, and returns the epoch's one pass."""
        problem, params = self.problem, self.params
        labels_N = random_labels(
            problem.forget.labels, problem.classes, self.generator, params.true_label_possible
        )
        self.forget = problem.forget.relabelled(labels_N)
        return epoch_in_order(self.forget, problem.retain, params.order, params, problem, self.generator)


def rl(
    problem: Problem, params: RLParams, generator: torch.Generator, on_epoch: OnEpoch | None = None
) -> nn.Module:
    """Fine-tunes on randomly relabelled forget data together with the retain data."""
    model = copy.deepcopy(problem.model)
    epochs = RelabelledEpochs(problem, params, generator)
    return fit(
        model,
        epochs,
        params,
        generator,
        epoch_facts=gradient_probe(model, problem, params, lambda: epochs.forget),
        callbacks=problem.callbacks,
        on_epoch=on_epoch,
    )


METHOD = Method(
    "rl",
    "RL",
    RLParams,
    lr_range(1e-3, 1e-1),
    rl,
    released={"order": "sequential", "true_label_possible": True, "decay_quantizers": True},
)
