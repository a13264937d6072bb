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
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import Field

from core import models, quant
from core.data import Batch, batches
from core.errors import BadInput
from core.lazy import F, Tensor, nn, no_grad, torch
from core.train import LearningRate, OnEpoch, Positive, autocast, fit, plain
from core.unlearn.base import CLASS_WISE, Method, Problem, UnlearnParams, lr_range
from core.unlearn.gradient_norms import gradient_probe
from core.unlearn.hooks import Hook, Part, Setting, Training, chosen
from core.unlearn.parameters import last_linear

MASK = "mask"
_DENSITY, _OVERLAP = 0.1, 0.1  # up to which entries cost nothing; weight of the products of columns
_MOMENTUM, _DECAY = 0.9, 5e-4  # of the mask's own steps, as published
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


def mask_regulariser(mask_CK: Tensor) -> Tensor:
    """relu(‖M‖₁ - 0.1 C K) + 0.1 Σ_{i<j} M_iᵀM_j over its columns."""
    size = (mask_CK.abs().sum() - _DENSITY * mask_CK.numel()).relu()
    return size + _OVERLAP * torch.triu(mask_CK.T @ mask_CK, diagonal=1).sum()


def clip_mask(mask_CK: Tensor) -> Tensor:
    """Rows divided by their largest entry, clamped to 0..1; 0 where a row has no positive entry."""
    largest_C1 = mask_CK.amax(1, keepdim=True)
    return torch.where(largest_C1 > 0, mask_CK / largest_C1.clamp(min=1e-12), 0.0).clamp(0, 1)


def usable_channels(mask_CK: Tensor, forgotten: Sequence[int]) -> Tensor:
    """True for channels that no forgotten class has a positive entry at, bool C; all of them for no class."""
    return (mask_CK[:, list(forgotten)] <= 0).all(1)


def cut_mask(mask_CK: Tensor, keep: float) -> Tensor:
    """The mask with at most the share of channels left to each class, those with the largest entries."""
    count = max(1, int(keep * len(mask_CK)))
    kept = torch.zeros_like(mask_CK).scatter(0, mask_CK.topk(count, 0).indices, 1.0)
    return mask_CK * kept


class Masking(Part):
    """The mask's part in the original's training."""

    def __init__(self, training: Training, setting: Setting) -> None:
        super().__init__(training)
        self.setting, classifier = setting, last_linear(training.model)
        shape, device = (classifier.in_features, training.classes), training.images.pixels.device
        self.mask_CK = torch.full(shape, 0.5, device=device, requires_grad=True)
        self.momentum_CK = torch.zeros(shape, device=device)
        self.labels_B: Tensor | None = None  # of the batch at hand, in an epoch with the mask
        self.optimizer: torch.optim.SGD | None = None
        self._handle = classifier.register_forward_pre_hook(self._apply)

    def on_optimizer(self, optimizer: torch.optim.SGD) -> None:
        """The mask follows its learning rate."""
        self.optimizer = optimizer

    def batches(self, epoch: int, generator: torch.Generator) -> Iterator[Batch]:
        """The usual ones; the mask looks at their labels."""
        period = self.setting["period"]
        masks = epoch % period >= period - self.setting["masked"]
        for batch in super().batches(epoch, generator):
            self.labels_B = batch.labels if masks else None
            yield batch
        self.labels_B = None

    def on_update(self) -> None:
        """A step of the mask, on the gradient of the batch and of its own loss."""
        if self.labels_B is None or self.mask_CK.grad is None:
            return
        (own,) = torch.autograd.grad(mask_regulariser(self.mask_CK), self.mask_CK)
        assert self.optimizer is not None
        with torch.no_grad():
            gradient = self.mask_CK.grad + self.setting["regularisation"] * own + _DECAY * self.mask_CK
            self.momentum_CK.mul_(_MOMENTUM).add_(gradient)
            moved = self.mask_CK - self.optimizer.param_groups[0]["lr"] * self.momentum_CK
            self.mask_CK.copy_(clip_mask(moved))
        self.mask_CK.grad = None

    def finish(self, model: nn.Module) -> None:  # noqa: ARG002
        """The network goes on without the mask, which is cut."""
        self._handle.remove()
        self.mask_CK = cut_mask(self.mask_CK.detach(), self.setting["keep"])

    def kept(self) -> dict[str, Tensor]:
        """The mask, CK."""
        return {MASK: self.mask_CK.detach()}

    def remembered(self) -> dict[str, Tensor]:
        """The mask and its momentum."""
        return {MASK: self.mask_CK.detach(), "momentum": self.momentum_CK}

    @no_grad
    def recall(self, tensors: dict[str, Tensor]) -> None:
        """Takes them back."""
        self.mask_CK.copy_(tensors[MASK])
        self.momentum_CK.copy_(tensors["momentum"])

    def _apply(self, layer: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
        """Features times the mask of the image's class, while the network trains with it."""
        if self.labels_B is None or not layer.training:
            return None
        return (inputs[0] * self.mask_CK[:, self.labels_B].T,)


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
