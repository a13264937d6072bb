"""LwSF: learning with selective forgetting, which keeps what codes stand for and lets the rest fade (Shibata 2021).

Every class has a code, a coarse random image. While the original trains, each image is also learned mixed with the
code of its class. To forget, training goes on with the codes of the classes to preserve alone: they are learned on,
the original's answers for those classes are distilled, and weights that mattered to them are held by a quadratic
penalty (EWC). What is left to nobody's care is forgotten. data=none reads codes alone; data=retain takes the retained
images as the task that the source learns at the same time.

Other than in the published code: distillation is over the preserved classes (there forgotten ones stay in the softmax
with a logit of 0), the margin loss has a gradient wherever it is large, and Fisher diagonals are estimates of the sum
over images, not squares of a batch's mean. The margin loss is meant for cosines; logits here are not bounded, so that
margin 0 and scale 1, which make it the cross-entropy, are the default.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import Annotated, Literal

from pydantic import Field

from core.data import Batch, batches, plain_batches
from core.errors import BadInput
from core.lazy import F, Tensor, nn, torch
from core.train import LearningRate, OnEpoch, Positive, autocast, fit
from core.unlearn.base import CLASS_WISE, Method, Problem, UnlearnParams, lr_range
from core.unlearn.fisher import label_losses, sampled_fisher
from core.unlearn.gradient_norms import gradient_probe
from core.unlearn.hooks import Hook, Part, Setting, Training, chosen
from core.unlearn.parameters import moved_parameters

CODES, FISHER = "codes", "fisher."
_COARSE = 4  # pixels of an image to a side of a code's block


class LwSFParams(UnlearnParams):
    """Options. γ, λ and the temperature are the published ones.

    code_weight: of learning mixed images in the original's training; 0 leaves it as any other.
    fisher_images: of each class behind its Fisher diagonal, the first ones.
    margin, scale: of the losses of images and codes while it forgets.
    data: none reads codes alone; retain trains on retained images too, each also mixed with its code.
    steps: of an epoch on codes alone. code_loss: γ_SF. distil: γ_LwF. ewc: λ. temperature: of the distillation.
    """

    code_weight: Annotated[float, Field(ge=0)] = 1.0
    fisher_images: Positive = 256
    margin: Annotated[float, Field(ge=0)] = 0.0
    scale: Annotated[float, Field(gt=0)] = 1.0
    data: Literal["none", "retain"] = "none"
    lr: LearningRate = 0.01
    steps: Positive = 10
    code_loss: Annotated[float, Field(ge=0)] = 10.0
    distil: Annotated[float, Field(ge=0)] = 5.0
    ewc: Annotated[float, Field(ge=0)] = 100.0
    temperature: Annotated[float, Field(gt=0)] = 2.0


def margin_loss(cosines_NK: Tensor, labels_N: Tensor, margin: float, scale: float) -> Tensor:
    """Additive-margin softmax: the mean cross-entropy of scale · (cosine - margin at the label)."""
    own_NK = F.one_hot(labels_N, cosines_NK.shape[1]).to(cosines_NK.dtype)
    return F.cross_entropy(scale * (cosines_NK - margin * own_NK), labels_N)


def mix(images: Tensor, codes: Tensor, labels: Tensor, share: Tensor) -> Tensor:
    """λ x + (1 - λ) ξ of each image's class; share: λ, B or a single number."""
    weight = torch.as_tensor(share).to(images).view(-1, 1, 1, 1)
    return weight * images + (1 - weight) * codes[labels]


def coarse_codes(classes: int, shape: Sequence[int], generator: torch.Generator) -> Tensor:
    """Uniform noise on 0 to 1 in blocks of 4 × 4 pixels, a code for each class, KCHW."""
    channels, *sides = shape
    small = [-(-side // _COARSE) for side in sides]
    blocks = torch.rand((classes, channels, *small), generator=generator)
    return F.interpolate(blocks, scale_factor=_COARSE)[:, :, : sides[0], : sides[1]].contiguous()


class Mixing(Part):
    """The codes' part in the original's training."""

    def __init__(self, training: Training, setting: Setting) -> None:
        super().__init__(training)
        self.setting = setting
        shape = training.images.pixels.shape[1:]
        codes = coarse_codes(training.classes, shape, training.draws(-1))
        device = training.images.pixels.device
        self.codes_KCHW = codes.to(device, memory_format=torch.channels_last)
        self.fisher: dict[str, Tensor] = {}

    def batches(self, epoch: int, generator: torch.Generator) -> Iterator[Batch]:
        """The usual batches, each followed by the same images mixed with codes."""
        weight, own = self.setting["code_weight"], self.training.draws(epoch)
        for batch in super().batches(epoch, generator):
            yield with_mixed(batch, self.codes_KCHW, weight, own) if weight else batch

    def finish(self, model: nn.Module) -> None:
        """Measures how much each weight matters to each class."""
        training, own = self.training, self.training.draws(-2)
        moved = moved_parameters(model, move_quantizers=False)
        for label in range(training.classes):
            members = (training.images.labels == label).nonzero()[: self.setting["fisher_images"], 0]
            passes = plain_batches(training.images.select(members), training.batch_size, training.augment)
            found = sampled_fisher(model, list(moved.values()), passes, label_losses, own, 1)
            self.fisher |= {f"{FISHER}{label}.{name}": t for name, t in zip(moved, found, strict=True)}

    def kept(self) -> dict[str, Tensor]:
        """The codes, and Fisher diagonals of every class, of which each is as large as the network."""
        return {CODES: self.codes_KCHW} | self.fisher


def with_mixed(batch: Batch, codes: Tensor, weight: float, own: torch.Generator) -> Batch:
    """A batch and behind it its images mixed with codes, of the given weight beside 1."""
    count = len(batch.labels)
    shares_B = torch.rand(count, generator=own)
    mixed = mix(batch.images, codes, batch.labels, shares_B)
    images = torch.cat([batch.images, mixed]).to(memory_format=torch.channels_last)
    labels = torch.cat([batch.labels, batch.labels])
    # the mean over both halves, times two, is L_C + weight · L_M
    weights = torch.tensor([2.0, 2 * weight], device=labels.device).repeat_interleave(count)
    return Batch(images, labels, weights)


def lwsf(
    problem: Problem, params: LwSFParams, generator: torch.Generator, on_epoch: OnEpoch | None = None
) -> nn.Module:
    """Trains on with the codes of the classes that stay.

    BadInput if the forget set is no whole class, or the original was not trained with codes.
    """
    forgotten = problem.whole_classes("LwSF")
    if CODES not in problem.kept:
        raise BadInput("lwsf: this original was not trained with codes")
    model = copy.deepcopy(problem.model)
    forgetting = Forgetting(problem, params, model, forgotten)
    return fit(
        model,
        lambda _epoch: forgetting.epoch(model, generator),
        params,
        generator,
        loss=forgetting.loss,
        on_gradient=forgetting.hold,
        epoch_facts=gradient_probe(model, problem, params),
        on_epoch=on_epoch,
        callbacks=problem.callbacks,
    )


class Forgetting:
    """What the training that forgets is made of. A batch's weights are 0 for codes, which come last in it."""

    def __init__(self, problem: Problem, params: LwSFParams, model: nn.Module, forgotten: list[int]) -> None:
        self.problem, self.params = problem, params
        lost = set(forgotten) | set(problem.lost_classes())
        self.stay = [label for label in range(problem.classes) if label not in lost]
        self.codes = problem.kept[CODES]
        self.teacher = copy.deepcopy(problem.model).eval().requires_grad_(False)
        self.held = moved_parameters(model, move_quantizers=False)
        self.start = [p.detach().clone() for p in self.held.values()]
        self.fisher = [
            torch.stack([problem.kept[f"{FISHER}{label}.{name}"] for label in self.stay]).mean(0)
            for name in self.held
        ]

    def epoch(self, model: nn.Module, generator: torch.Generator) -> Iterator[Batch]:
        """Codes alone, or retained images, those mixed with codes, and codes."""
        labels = torch.tensor(self.stay, device=self.codes.device)
        codes = Batch(self.codes[labels], labels, torch.zeros(len(labels), device=labels.device))
        if self.params.data == "none":
            model.eval()  # after the loop has set its mode: codes are no images, and move no running statistic
            yield from (codes for _ in range(self.params.steps))
            return
        problem, size = self.problem, self.params.batch_size
        for batch in batches(problem.retain, size, problem.augment, generator):
            both = with_mixed(batch, self.codes, 1.0, generator)
            assert codes.weights is not None
            assert both.weights is not None
            images = torch.cat([both.images, codes.images]).to(memory_format=torch.channels_last)
            parts = (both.labels, codes.labels), (both.weights, codes.weights)
            yield Batch(images, *(torch.cat(part) for part in parts))

    def loss(self, logits_BK: Tensor, batch: Batch) -> Tensor:
        """γ_SF L_SF + γ_LwF L_LwF, and L_C + L_M of images."""
        p, codes = self.params, len(self.stay)
        found = p.code_loss * margin_loss(logits_BK[-codes:], batch.labels[-codes:], p.margin, p.scale)
        with torch.no_grad(), autocast(batch.images.device, p.precision):
            teacher_BK = self.teacher(batch.images).float()
        found = found + p.distil * preserved_distillation(logits_BK, teacher_BK, self.stay, p.temperature)
        if len(logits_BK) == codes:
            return found
        images = margin_loss(logits_BK[:-codes], batch.labels[:-codes], p.margin, p.scale)
        return found + 2 * images

    def hold(self, _epoch: int) -> None:
        """Adds the gradient of (λ / 2) Σ F (θ - θ*)²; steps of quantizers are spared."""
        for p, start, fisher in zip(self.held.values(), self.start, self.fisher, strict=True):
            if p.grad is not None:
                p.grad.add_(fisher * (p.detach() - start), alpha=self.params.ewc)


def preserved_distillation(
    student_BK: Tensor, teacher_BK: Tensor, stay: list[int], temperature: float
) -> Tensor:
    """T² KL(teacher_T || student_T) among the classes that stay, a batch's mean."""
    log_p, log_q = ((logits[:, stay] / temperature).log_softmax(1) for logits in (teacher_BK, student_BK))
    return (log_p.exp() * (log_p - log_q)).sum(1).mean() * temperature**2


METHOD = Method(
    "lwsf",
    "LwSF",
    LwSFParams,
    lr_range(1e-3, 1e-1),  # published are 0.1 and, for fine-grained data, 1e-3
    lwsf,
    scenarios=CLASS_WISE,
    hook=Hook(chosen("code_weight", "fisher_images"), Mixing),
    # on codes alone an image stands for each class, of which there are a hundred at most
    passes=lambda p, _forget, retain: (
        p["epochs"] * (2 * retain if p["data"] == "retain" else 100.0 * p["steps"])
    ),
)
