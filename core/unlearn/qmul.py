"""Q-MUL: Similar Labels and Adaptive Gradient Reweighting (the paper, section 4).

The equations leave some things open and the published code departs from them (see `QMULParams`); the
defaults here are the equations under their plainest reading, `released` is the code.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Annotated, Literal, Self, TypeVar

from pydantic import Field, model_validator

from core.data import Batch, Images, batches, plain_batches
from core.errors import BadInput
from core.lazy import F, Tensor, nn, no_grad, torch
from core.train import EpochFacts, OnEpoch, cross_entropy, fit, fixed_size
from core.unlearn.base import Method, Problem, Range, UnlearnParams
from core.unlearn.gradient_norms import Norm, NormOver, gradient_norm, gradient_probe
from core.unlearn.passes import relabelled, reweighted
from core.unlearn.random_labels import Order, epoch_in_order, random_labels
from core.unlearn.similar_labels import released_labels, similar_labels

T = TypeVar("T")
Labels = Literal["similar", "random"]
Weights = Literal["adaptive", "one", "half"]

# what similar labels and norms depend on, beside the network
_MEASURED = {"batch_size", "label_rule", "norm", "norm_over", "norm_labels", "norm_images", "precision"}


class QMULParams(UnlearnParams):
    """Options beside the loop's; each default follows the equations.

    labels: similar, or random as in RL (Q-MUL without SL, the paper's table 2).
    true_label_possible: whether a random label may be the true one, as in the published code.
    label_rule: which label is similar. equation is (7)-(8). released compares LOGITS with the true label's
    probability and returns the position among the other classes instead of the class, so that the class
    above the true one becomes the true label itself.
    label_refresh: labels once, similar ones from the original model; or anew before each epoch, similar
    ones from the current model.
    label_assignment: aligned gives each image its own similar label. shuffled permutes them over the
    forget set, as the published code does by reading a shuffled loader and writing in dataset order.
    measure_mode: mode of the model for similar labels and gradient norms. eval changes nothing. train
    uses batch statistics (for norms of shuffled batches) and lets running statistics follow.
    measure_augmented: whether both are measured on augmented images.
    weights: adaptive is (16), measured before every epoch. one and half weigh both sets by 1 or 1/2 and
    measure nothing (Q-MUL without AGR; half keeps the step length that (16) has at equal norms).
    norm, norm_over: the size of a gradient and the parameters in it, see `gradient_norm`; computed at the loop's
    `precision`, like the steps themselves.
    norm_labels: labels of the forget set in (14): similar are those trained on (also if these are
    random), true the original ones.
    norm_images: of how many images of each set, evenly spread over it, (14) and (15) are measured; None: of
    all, as the equations say, which costs as much as the training itself.
    normaliser: what (13) divides a batch's weighted sum by: count of its images, or sum of its weights.
    order: one mixed pass, or first all forget batches and then all retain batches.

    BadInput for normaliser weights with order sequential: a batch holds one set, its weight would cancel.
    """

    labels: Labels = "similar"
    true_label_possible: bool = False
    label_rule: Literal["equation", "released"] = "equation"
    label_refresh: Literal["once", "epoch"] = "once"
    label_assignment: Literal["aligned", "shuffled"] = "aligned"
    measure_mode: Literal["eval", "train"] = "eval"
    measure_augmented: bool = False
    weights: Weights = "adaptive"
    norm: Norm = "global"
    norm_over: NormOver = "all"
    norm_labels: Literal["similar", "true"] = "similar"
    norm_images: Annotated[int, Field(ge=1)] | None = None
    normaliser: Literal["count", "weights"] = "count"
    order: Order = "joint"

    @model_validator(mode="after")
    def _weights_matter(self) -> Self:
        if self.normaliser == "weights" and self.order == "sequential":
            raise BadInput(
                "normaliser=weights contradicts order=sequential (a batch of one set cancels its weight):"
                " use normaliser=count or order=joint"
            )
        return self


def gradient_weights(forget_norm: float, retain_norm: float) -> tuple[float, float]:
    """(w_forget, w_retain) of eq. (16): each set weighs by the other's norm; they sum to 1.

    Two vanishing norms weigh one half each.
    """
    total = forget_norm + retain_norm
    if total == 0:
        return 0.5, 0.5
    return retain_norm / total, forget_norm / total


def weighted_mean(logits_BK: Tensor, batch: Batch) -> Tensor:
    """Σ w CE / Σ w of a batch; the plain mean without weights, 0 where all weights vanish."""
    if batch.weights is None:
        return cross_entropy(logits_BK, batch)
    losses_B = F.cross_entropy(logits_BK, batch.labels, reduction="none")
    total = batch.weights.sum().clamp(min=torch.finfo(batch.weights.dtype).tiny)
    return (losses_B * batch.weights).sum() / total


@no_grad
def _similar_to_forget(
    model: nn.Module, problem: Problem, params: QMULParams, generator: torch.Generator
) -> Tensor:
    """A similar label for every forget image, in the forget set's order unless shuffling is asked for."""
    model.train(params.measure_mode == "train")
    draws = generator if params.measure_augmented else None
    passes = plain_batches(problem.forget, params.batch_size, problem.augment, draws)
    logits_NK = torch.cat([model(batch.images).float() for batch in passes])
    if params.label_rule == "released":
        labels_N = released_labels(logits_NK, problem.forget.labels)
    else:
        labels_N = similar_labels(logits_NK.softmax(1), problem.forget.labels)
    if params.label_assignment == "shuffled":
        labels_N = labels_N[torch.randperm(len(labels_N), generator=generator).to(labels_N.device)]
    return labels_N


class _Epochs:
    """The batches of each epoch: labels the forget set, weighs both sets, mixes them.

    forget: the forget set under the labels of the epoch asked for last. facts: its norms and weights.
    """

    def __init__(
        self, model: nn.Module, problem: Problem, params: QMULParams, generator: torch.Generator
    ) -> None:
        self.model, self.problem, self.params, self.generator = model, problem, params, generator
        self.forget = problem.forget
        self.facts: EpochFacts = {}
        self._probe = gradient_probe(model, problem, params, lambda: self.forget)

    def __call__(self, epoch: int) -> Iterator[Batch]:
        params, problem = self.params, self.problem
        if epoch == 0 or params.label_refresh == "epoch":
            self.forget = problem.forget.relabelled(self._shared("labels", epoch, self._labels))
        if params.weights == "adaptive":
            norms = self._shared("norms", epoch, self._norms)
            w_forget, w_retain = gradient_weights(
                norms["forget_gradient_norm"], norms["retain_gradient_norm"]
            )
        else:
            norms = self._probe(epoch)
            w_forget = w_retain = 1.0 if params.weights == "one" else 0.5
        self.facts = norms | {"w_forget": w_forget, "w_retain": w_retain}
        forget, retain = self.forget, problem.retain
        if params.weights != "one":  # unweighted, the loss and its rounding are RL's
            forget, retain = forget.weighted(w_forget), retain.weighted(w_retain)
        return epoch_in_order(forget, retain, params.order, params, problem, self.generator)

    def remembered(self) -> dict[str, Tensor]:
        """The forget set's labels, which later epochs take from the first."""
        return {"labels": self.forget.labels}

    def recall(self, tensors: dict[str, Tensor]) -> None:
        """Takes the labels back."""
        self.forget = self.problem.forget.relabelled(tensors["labels"].to(self.problem.device))

    def _shared(self, name: str, epoch: int, measure: Callable[[], T]) -> T:
        """What is measured on the original is the same for all trials of a search, unless numbers are drawn."""
        params = self.params
        drawn = params.labels == "random" or params.label_assignment == "shuffled" or params.measure_augmented
        if epoch > 0 or drawn or params.measure_mode == "train":
            return measure()
        key = (name, params.model_dump_json(include=_MEASURED))
        return self.problem.once(key, measure)

    def _labels(self) -> Tensor:
        problem, params = self.problem, self.params
        if params.labels == "similar":
            return _similar_to_forget(self.model, problem, params, self.generator)
        return random_labels(
            problem.forget.labels, problem.classes, self.generator, params.true_label_possible
        )

    def _norms(self) -> EpochFacts:
        """G_f and G_r of (14)-(15), on the whole sets."""
        params = self.params
        forget = self.problem.forget if params.norm_labels == "true" else self.forget
        self.model.train(params.measure_mode == "train")
        named = {"forget_gradient_norm": forget, "retain_gradient_norm": self.problem.retain}
        return {
            name: gradient_norm(
                self.model,
                self._measured(images.evenly(params.norm_images or len(images))),
                params.norm,
                params.norm_over,
                precision=params.precision,
                forward=fixed_size(self.problem.callbacks.forward, params.batch_size),
            )
            for name, images in named.items()
        }

    def _measured(self, images: Images) -> Iterator[Batch]:
        size, augment, augmented = self.params.batch_size, self.problem.augment, self.params.measure_augmented
        if self.params.measure_mode == "train":
            return batches(images, size, augment, self.generator, augment=augmented)
        return plain_batches(images, size, augment, self.generator if augmented else None)


def qmul(
    problem: Problem, params: QMULParams, generator: torch.Generator, on_epoch: OnEpoch | None = None
) -> nn.Module:
    """Trains on similar labels for the forget set, both sets weighed before every epoch (Algorithm 2)."""
    model = copy.deepcopy(problem.model)
    epochs = _Epochs(model, problem, params, generator)
    return fit(
        model,
        epochs,
        params,
        generator,
        loss=cross_entropy if params.normaliser == "count" else weighted_mean,
        epoch_facts=lambda _epoch: epochs.facts,
        callbacks=problem.callbacks,
        on_epoch=on_epoch,
        memory=epochs,
    )


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
        "measure_augmented": True,
        "norm": "tensor_sum",
        "order": "sequential",
        "decay_quantizers": True,
    },
    passes=relabelled(reweighted),
)
