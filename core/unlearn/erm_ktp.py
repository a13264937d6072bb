"""ERM-KTP: train so that each class has channels of its own, then hand over all but those of a class (Lin et al. 2023).

While the original trains, every third epoch multiplies the features in front of the classifier by a mask of the
image's class, which is learned and kept sparse (entanglement-reduced mask). To forget, a network with a fresh
backbone learns the original's features on retained images, those of the forgotten classes' channels put to zero, under
the original's classifier without them (knowledge transfer and prohibition). No label is used.

Other than in the published code: a row of the mask that has no positive entry becomes 0 (there its sign flips, or it
is no number), the map of features is masked like its mean (one network there takes it before the mask), and when the
training ends a class keeps at most the share `keep` of all channels, without which the mask of a short training is
dense and leaves none to anybody else.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import Field

from core import models, quant
from core.data import Batch, batches
from core.errors import BadInput
from core.lazy import F, Tensor, nn, no_grad, torch
from core.train import LearningRate, OnEpoch, Positive, autocast, fit, plain
from core.unlearn.base import CLASS_WISE, Method, Problem, UnlearnParams, lr_range
from core.unlearn.class_masks import (
    MASK,
    Masking,
    clip_mask as clip_mask,
    mask_regulariser as mask_regulariser,
    usable_channels as usable_channels,
)
from core.unlearn.gradient_norms import gradient_probe
from core.unlearn.hooks import Hook, chosen
from core.unlearn.parameters import last_linear

_SHUT = -1e4  # a logit that no other falls below


class ERMParams(UnlearnParams):
    """Options. Epochs, rate and the mask's numbers are the published ones.

    period, masked: of every `period` epochs of the original's training the last `masked` ones have the mask.
    regularisation: weight of the mask's own loss. keep: share of channels that a class keeps at most; 1 cuts nothing.
    start: of the backbone that learns: fresh as published, or the original's, which is cheap.
    shut: give forgotten classes a logit that never wins. Theirs is 0 as published, and wins where all others are
    negative.
    """

    epochs: Positive = 200
    lr: LearningRate = 0.1
    period: Positive = 3
    masked: Annotated[int, Field(ge=0)] = 1
    regularisation: Annotated[float, Field(ge=0)] = 1e-3
    keep: Annotated[float, Field(gt=0, le=1)] = 0.25
    start: Literal["fresh", "original"] = "fresh"
    shut: bool = False


def erm_ktp(
    problem: Problem, params: ERMParams, generator: torch.Generator, on_epoch: OnEpoch | None = None
) -> nn.Module:
    """Hands over what the original knows, but for the forgotten classes' channels.

    BadInput if the forget set is no whole class, the original was trained without a mask, or no channel is free of the
    classes to forget.
    """
    forgotten = problem.whole_classes("ERM-KTP")
    if MASK not in problem.kept:
        raise BadInput("erm_ktp: this original was trained without a mask of classes")
    usable_C = usable_channels(problem.kept[MASK], forgotten)
    if not bool(usable_C.any()):
        raise BadInput(
            f"erm_ktp: each of the {len(usable_C)} channels belongs to a class to forget: train with a smaller keep,"
            " or leave the method out"
        )
    model = beginner(problem, params, forgotten, usable_C, generator)
    student, teacher = Seen(model), Seen(copy.deepcopy(problem.model).eval().requires_grad_(False))
    with_map = teacher.pools(problem.augment.normalise(problem.retain.pixels[:2]))

    def loss(_logits_BK: Tensor, batch: Batch) -> Tensor:
        with torch.no_grad(), autocast(batch.images.device, params.precision):
            teacher.model(batch.images)
        return transfer_loss(student.parts(with_map=with_map), teacher.parts(with_map=with_map), usable_C)

    fit(
        model,
        lambda _epoch: batches(problem.retain, params.batch_size, problem.augment, generator),
        params,
        generator,
        loss=loss,
        epoch_facts=gradient_probe(model, problem, params),
        on_epoch=on_epoch,
        callbacks=replace(problem.callbacks, forward=plain),  # features are read by hooks
    )
    student.remove()
    return model.requires_grad_(True)


def transfer_loss(student: Sequence[Tensor], teacher: Sequence[Tensor], usable_C: Tensor) -> Tensor:
    """Mean squared differences to the teacher's features, and to their map, without the prohibited channels."""
    found = [
        F.mse_loss(s.float(), t.float() * usable_C.view(1, -1, *[1] * (t.dim() - 2)))
        for s, t in zip(student, teacher, strict=True)
    ]
    return torch.stack(found).sum()


def beginner(
    problem: Problem,
    params: ERMParams,
    forgotten: Sequence[int],
    usable_C: Tensor,
    generator: torch.Generator,
) -> nn.Module:
    """The network that learns: a backbone, and the original's classifier, frozen, without what is prohibited."""
    model = copy.deepcopy(problem.model)
    if params.start == "fresh":
        models.initialise_(model, generator)
        first = problem.retain.select(
            torch.randperm(len(problem.retain), generator=generator)[: params.batch_size]
        )
        quant.calibrate_(model, problem.augment.normalise(first.pixels))
        last_linear(model).load_state_dict(last_linear(problem.model).state_dict())
    close_(last_linear(model), forgotten, usable_C, shut=params.shut)
    return model


@no_grad
def close_(head: nn.Linear, forgotten: Sequence[int], usable_C: Tensor, *, shut: bool) -> None:
    """Zeroes what prohibited channels and forgotten classes have in a classifier, and freezes it."""
    head.weight.mul_(usable_C)
    head.weight[list(forgotten)] = 0
    if head.bias is not None:
        head.bias[list(forgotten)] = _SHUT if shut else 0.0
    head.requires_grad_(False)


class Seen:
    """What a network's classifier sees in its last forward pass, and the last map of features in front of it."""

    def __init__(self, model: nn.Module) -> None:
        self.model, self.found = model, dict[str, Tensor]()
        apart = {name for name, _ in quant.quantizers(model)}
        named = model.named_modules()
        layers = [m for name, m in named if name not in apart and not isinstance(m, nn.Linear)]
        self._handles = [layer.register_forward_hook(self._map) for layer in layers]
        self._handles.append(model.register_forward_pre_hook(lambda _model, _inputs: self.found.clear()))
        self._handles.append(last_linear(model).register_forward_pre_hook(self._features))

    def pools(self, x_BCHW: Tensor) -> bool:
        """Whether the features are the map's mean over pixels, as they are behind global pooling."""
        with torch.no_grad():
            self.model(x_BCHW)
        features, found = self.found["features"], self.found.get("map")
        if found is None or found.shape[1] != features.shape[1]:
            return False
        return torch.allclose(found.mean((2, 3)), features, atol=1e-4)

    def parts(self, *, with_map: bool) -> list[Tensor]:
        """Features BD, and the map BDHW."""
        return [self.found[name] for name in (("features", "map") if with_map else ("features",))]

    def remove(self) -> None:
        """Takes the hooks out of the network."""
        for handle in self._handles:
            handle.remove()

    def _features(self, _layer: nn.Module, inputs: tuple[Any, ...]) -> None:
        self.found["features"] = inputs[0]

    def _map(self, _layer: nn.Module, _inputs: tuple[Any, ...], output: Any) -> None:
        wide = isinstance(output, torch.Tensor) and output.dim() == 4 and output[0, 0].numel() > 1
        if wide and "features" not in self.found:
            self.found["map"] = output


METHOD = Method(
    "erm_ktp",
    "ERM-KTP",
    ERMParams,
    lr_range(1e-2, 1.0),  # one rate is published: a decade to either side
    erm_ktp,
    scenarios=CLASS_WISE,
    hook=Hook(chosen("period", "masked", "regularisation", "keep"), Masking),
    passes=lambda p, _forget, retain: p["epochs"] * retain * 4 / 3,
)
