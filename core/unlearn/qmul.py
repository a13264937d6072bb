"""Q-MUL: Similar Labels and Adaptive Gradient Reweighting (the paper, section 4).

The published code departs from the equations in several ways (see `QMULParams`); the defaults here are the
equations, `released` is the code.
"""

import copy
from collections.abc import Iterator
from typing import Literal

import torch
from torch import Tensor, nn

from core.data.loader import Batch, Images, batches, plain_batches
from core.train import EpochFacts, OnEpoch, TrainParams, fit
from core.unlearn.base import Method, Problem, Range
from core.unlearn.gradient_norms import Norm, mean_gradient_norm
from core.unlearn.random_labels import Order, epoch_in_order


class QMULParams(TrainParams):
    """Options beside the loop's; each default follows the equations.

    label_rule: equation is (7)-(8). released compares LOGITS with the true label's probability and
    returns the position among the other classes instead of the class, so that the class above the true
    one becomes the true label itself.
    label_refresh: labels from the original model once, or from the current model before each epoch.
    label_assignment: aligned gives each image its own label. shuffled permutes the labels over the forget
    set, as the published code does by reading a shuffled loader and writing in dataset order.
    measure_mode: eval reads plain images and changes nothing. train uses batch statistics on augmented
    images and lets running statistics follow.
    norm: the gradient norm of (14)-(15), see `mean_gradient_norm`.
    order: one mixed pass, or first all forget batches and then all retain batches.
    """

    label_rule: Literal["equation", "released"] = "equation"
    label_refresh: Literal["once", "epoch"] = "once"
    label_assignment: Literal["aligned", "shuffled"] = "aligned"
    measure_mode: Literal["eval", "train"] = "eval"
    norm: Norm = "global"
    order: Order = "joint"


def similar_labels(probabilities_NK: Tensor, labels_N: Tensor) -> Tensor:
    """The class whose probability is nearest to the true label's, never the true label (eq. 7-8).

    Args:
        probabilities_NK: softmax outputs.
        labels_N: true labels, int64.

    Returns: int64 N; for a correct prediction it is the runner-up class. The lower class wins a tie.
    """
    true_N1 = probabilities_NK.gather(1, labels_N[:, None])
    distance_NK = (probabilities_NK - true_N1).abs()
    return distance_NK.scatter(1, labels_N[:, None], torch.inf).argmin(1)


def released_labels(logits_NK: Tensor, labels_N: Tensor) -> Tensor:
    """What the published code computes: |logit - probability|, and an index that was never shifted back."""
    true_N1 = logits_NK.softmax(1).gather(1, labels_N[:, None])
    distance_NK = (logits_NK - true_N1).abs().scatter(1, labels_N[:, None], torch.inf)
    nearest_N = distance_NK.argmin(1)
    return nearest_N - (nearest_N > labels_N).long()


def gradient_weights(forget_norm: float, retain_norm: float) -> tuple[float, float]:
    """(w_forget, w_retain) of eq. (16): each set weighs by the other's norm; they sum to 1.

    Two vanishing norms weigh one half each.
    """
    total = forget_norm + retain_norm
    if total == 0:
        return 0.5, 0.5
    return retain_norm / total, forget_norm / total


@torch.no_grad()
def _forget_labels(
    model: nn.Module, problem: Problem, params: QMULParams, generator: torch.Generator
) -> Tensor:
    """A similar label for every forget image, in the forget set's order unless shuffling is asked for."""
    training = params.measure_mode == "train"
    model.train(training)
    passes = plain_batches(
        problem.forget, params.batch_size, problem.augment, generator if training else None
    )
    logits_NK = torch.cat([model(batch.images).float() for batch in passes])
    if params.label_rule == "released":
        labels_N = released_labels(logits_NK, problem.forget.labels)
    else:
        labels_N = similar_labels(logits_NK.softmax(1), problem.forget.labels)
    if params.label_assignment == "shuffled":
        labels_N = labels_N[torch.randperm(len(labels_N), generator=generator).to(labels_N.device)]
    return labels_N


class _Epochs:
    """The batches of each epoch: measures both gradient norms, weighs both sets, mixes them."""

    def __init__(
        self, model: nn.Module, problem: Problem, params: QMULParams, generator: torch.Generator
    ) -> None:
        self.model, self.problem, self.params, self.generator = model, problem, params, generator
        self.labels: Tensor | None = None
        self.facts: EpochFacts = {}

    def __call__(self, _epoch: int) -> Iterator[Batch]:
        params = self.params
        if self.labels is None or params.label_refresh == "epoch":
            self.labels = _forget_labels(self.model, self.problem, params, self.generator)
        forget, retain = self.problem.forget.relabelled(self.labels), self.problem.retain
        self.model.train(params.measure_mode == "train")
        norms = [
            mean_gradient_norm(self.model, self._measured(images), params.norm) for images in (forget, retain)
        ]
        self.model.train()
        w_forget, w_retain = gradient_weights(*norms)
        self.facts = {
            "forget_gradient_norm": norms[0],
            "retain_gradient_norm": norms[1],
            "w_forget": w_forget,
            "w_retain": w_retain,
        }
        weighted = forget.weighted(w_forget), retain.weighted(w_retain)
        return epoch_in_order(*weighted, params.order, params, self.problem, self.generator)

    def _measured(self, images: Images) -> Iterator[Batch]:
        if self.params.measure_mode == "train":
            return batches(images, self.params.batch_size, self.problem.augment, self.generator)
        return plain_batches(images, self.params.batch_size, self.problem.augment)


def qmul(
    problem: Problem, params: QMULParams, generator: torch.Generator, on_epoch: OnEpoch | None = None
) -> nn.Module:
    """Trains on similar labels for the forget set, both sets weighed before every epoch (Algorithm 2)."""
    model = copy.deepcopy(problem.model)
    epochs = _Epochs(model, problem, params, generator)

    def report(epoch: int, facts: EpochFacts) -> None:
        if on_epoch is not None:
            on_epoch(epoch, facts | epochs.facts)

    return fit(model, epochs, params, generator, on_epoch=report)


def _space(arch: str) -> dict[str, Range]:
    # Appendix A: MobileNetV2 starts one decade higher
    return {"lr": Range(1e-2 if arch == "mobilenetv2" else 1e-3, 1e-1)}


METHOD = Method(
    "qmul",
    "Q-MUL",
    QMULParams,
    _space,
    qmul,
    released={
        "label_rule": "released",
        "label_refresh": "epoch",
        "label_assignment": "shuffled",
        "measure_mode": "train",
        "norm": "tensor_sum",
        "order": "sequential",
        "decay_quantizers": True,
    },
)
