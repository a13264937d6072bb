"""Retrain: train from scratch on the retained data alone, the reference every method is measured against."""

from __future__ import annotations

import copy
from collections.abc import Iterator

from core.data import Batch, Images, Transform, batches
from core.lazy import nn, torch
from core.train import (
    NO_CALLBACKS,
    Callbacks,
    LearningRate,
    OnEpoch,
    Positive,
    TrainParams,
    cross_entropy,
    fit,
)
from core.unlearn.base import Method, Problem
from core.unlearn.fresh import start_
from core.unlearn.hooks import Participant
from core.unlearn.passes import retain_set


class RetrainParams(TrainParams):
    """The paper's: 160 epochs at 0.1, cosine (the original's are 182)."""

    epochs: Positive = 160
    lr: LearningRate = 0.1


def train_from_scratch(
    model: nn.Module,
    images: Images,
    transform: Transform,
    params: TrainParams,
    generator: torch.Generator,
    on_epoch: OnEpoch | None = None,
    *,
    callbacks: Callbacks = NO_CALLBACKS,
    part: Participant | None = None,
    pretrained: bool = False,
) -> nn.Module:
    """Initialises, calibrates and trains the model in place on the images; returns it.

    Quantization is active from the first step (quantization-aware training from scratch). Calibration
    sees one batch of training images, plain. part: a method's part in the training. pretrained: the model's weights
    stay what they are, those of a file say, to be trained further.
    """
    if part is None:
        start_(model, images, transform, params.batch_size, generator, pretrained=pretrained)
    else:
        params = part.planned(params)
        part.prepare(generator, pretrained)

    def passes(epoch: int) -> Iterator[Batch]:
        if part is not None:
            return part.batches(epoch, generator)
        return batches(images, params.batch_size, transform, generator)

    fit(
        model,
        passes,
        params,
        generator,
        loss=part.loss if part else cross_entropy,
        on_optimizer=part.on_optimizer if part else None,
        on_update=part.on_update if part else None,
        on_epoch=on_epoch,
        memory=part,
        callbacks=callbacks,
    )
    if part is not None:
        part.finish(model)
    return model


def retrain(
    problem: Problem, params: RetrainParams, generator: torch.Generator, on_epoch: OnEpoch | None = None
) -> nn.Module:
    """A model of the same architecture that never saw the forget set.

    With `problem.pretrained` it starts from the same file as the original. It then never saw the forget set only if
    whoever made the file had none of those images either, which nothing here can check.
    """
    return train_from_scratch(
        copy.deepcopy(problem.model),
        problem.retain,
        problem.augment,
        params,
        generator,
        on_epoch,
        callbacks=problem.callbacks,
        pretrained=problem.pretrained,
    )


METHOD = Method(
    "retrain",
    "Retrain",
    RetrainParams,
    lambda _arch: {},
    retrain,
    released={"decay_quantizers": True},
    passes=retain_set,
    colour="#70777f",
    mark="M-0.25,-1L0.25,-1L0.25,1L-0.25,1Z",  # a standing bar
)
