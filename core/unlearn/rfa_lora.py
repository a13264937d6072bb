"""RFA: residual feature alignment with low-rank updates (Qin et al. 2024, "…Residual Feature Alignment Using LoRA").

A frozen network plus low-rank updates has the features h = h_pre + residual. Training asks for no residual on retained
images and for one on forgotten images that moves h to a target which knows nothing of them:
λ_r mean_{D_r} ‖h - h_pre‖² + λ_f mean_{D_f} ‖h - t‖².
The paper's text at hand leaves the losses and t open; these are the plainest, the options other readings. Updates come
before the fake quantizers and are merged in the end: the network that leaves has the original's layers.
"""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Annotated

from pydantic import Field

from core import models
from core.data import Batch, Images, batches, concat, plain_batches
from core.lazy import Tensor, nn, no_grad, torch
from core.train import Callbacks, EpochFacts, LearningRate, OnEpoch, Positive, autocast, fit, plain
from core.unlearn.base import Method, Problem, UnlearnParams, lr_range
from core.unlearn.feature_targets import Target, Targets, feature_targets
from core.unlearn.gradient_norms import gradient_probe
from core.unlearn.passes import both_sets


class RFAParams(UnlearnParams):
    """Options beside the loop's. The source trains few epochs with Adam; the loop here is SGD.

    rank, alpha: r and α of (α/r) B A; small layers get a smaller r, see `layer_rank`.
    retain_weight, forget_weight: λ_r and λ_f.
    target: t, from the original's features of retained images. mean is their mean, pair the features of one
    image of another class, drawn once for each image to forget, centroid the mean of the image's own class, or
    of the nearest other class if none of its own is retained.
    aligned: at the inputs of how many layers, the last ones, features are aligned; 1 is the classifier's
    input. Maps count by their means over pixels.
    """

    epochs: Positive = 5
    lr: LearningRate = 0.01
    rank: Positive = 4
    alpha: Annotated[float, Field(gt=0)] = 8.0
    retain_weight: Annotated[float, Field(ge=0)] = 1.0
    forget_weight: Annotated[float, Field(ge=0)] = 1.0
    target: Target = "mean"
    aligned: Positive = 1


def rfa_lora(
    problem: Problem, params: RFAParams, generator: torch.Generator, on_epoch: OnEpoch | None = None
) -> nn.Module:
    """Trains low-rank updates alone, and returns the original with them merged into its weights.

    Tells `trainable`, the share of parameters that trained, with the first epoch. Never compiled: the features
    are read by hooks.
    """
    before = models.Features(copy.deepcopy(problem.model).requires_grad_(False), params.aligned)
    targets = _targets(problem, params, before, int(torch.randint(2**62, (), generator=generator)))
    model = copy.deepcopy(problem.model)
    trainable = models.add_low_rank_(model, params.rank, params.alpha, generator)
    features = models.Features(model, params.aligned)
    images = _marked(problem, params, targets)
    probe = gradient_probe(model, problem, params)

    def loss(h_BD: Tensor, batch: Batch) -> Tensor:
        with torch.no_grad(), autocast(batch.images.device, params.precision):
            pre_BD = before(batch.images)
        return alignment_loss(h_BD, pre_BD, targets, batch)

    def facts(epoch: int) -> EpochFacts:
        return probe(epoch) | ({"trainable": trainable} if epoch == 0 else {})

    fit(
        features,
        lambda _epoch: batches(images, params.batch_size, problem.augment, generator),
        params,
        generator,
        loss=loss,
        epoch_facts=facts,
        on_epoch=on_epoch,
        callbacks=_callbacks_of_features(problem.callbacks, model),
    )
    return models.merged(model, copy.deepcopy(problem.model).eval())


def _callbacks_of_features(callbacks: Callbacks, model: nn.Module) -> Callbacks:
    """For a training whose outputs are features: never compiled, and measured on the model itself."""
    measure = callbacks.after_epoch
    of_model = None if measure is None else lambda _features: measure(model)
    return replace(callbacks, forward=plain, after_epoch=of_model)


def alignment_loss(h_BD: Tensor, pre_BD: Tensor, targets: Targets, batch: Batch) -> Tensor:
    """Mean over a batch of w ‖h - aim‖² in units of the targets' scale, a scalar.

    An image's label is the row of its target; a negative one stands for a retained image, whose aim is what its
    features were before.
    """
    assert batch.weights is not None
    aim_BD = torch.where((batch.labels < 0)[:, None], pre_BD, targets.rows[batch.labels.clamp(min=0)])
    return ((h_BD - aim_BD).square().sum(1) * batch.weights).mean() / targets.scale


def _marked(problem: Problem, params: RFAParams, targets: Targets) -> Images:
    """Both sets under the labels of `alignment_loss`, weighed so that its mean is λ_r L_r + λ_f L_f."""
    n_f, n_r = len(problem.forget), len(problem.retain)
    forget = problem.forget.relabelled(targets.row_of).weighted(params.forget_weight * (n_f + n_r) / n_f)
    kept = problem.retain.relabelled(torch.full_like(problem.retain.labels, -1))
    return concat(forget, kept.weighted(params.retain_weight * (n_f + n_r) / n_r))


def _targets(problem: Problem, params: RFAParams, before: models.Features, seed: int) -> Targets:
    """From plain images in float32; the same for all trials of a search."""

    @no_grad
    def seen(images: Images) -> Tensor:
        passes = plain_batches(images, params.batch_size, problem.augment)
        return torch.cat([before(batch.images) for batch in passes])

    key = ("rfa_lora", params.batch_size, params.target, params.aligned, seed)
    return problem.once(
        key,
        lambda: feature_targets(params.target, seen, problem.forget, problem.retain, seed),
    )


# No range is published: FT's learning rates.
METHOD = Method(
    "rfa_lora",
    "RFA-LoRA",
    RFAParams,
    lr_range(1e-3, 1e-1),
    rfa_lora,
    passes=lambda p, forget, retain: 1.5 * both_sets(p, forget, retain),
)
