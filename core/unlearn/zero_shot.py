"""ZeroShotMU: hand over what a network knows, without the forgotten classes, and without an image (Chundawat 2023b).

variant=gkt, gated knowledge transfer: a generator makes images on which a fresh student disagrees most with the
original, and the student learns to agree, answers and attention maps; images that the original takes for a forgotten
class do not pass the gate. variant=noise, error-minimising noise: noise that the original takes for retained classes
and noise that it least takes for forgotten ones, all under their class as the label, train the original further.

Of the data nothing is read but the labels, for which classes are lost, and the images' shape.

Other than in the published code: KL is a batch's mean (there also over classes, so that β weighed K times as much),
the gate is for any class (class 0 there), the student is in training mode throughout, and rates stay, which there
follow the loss on real images. Adam moves a quantizer's parameters in proportion to their size, 0.25 % a step at most.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Annotated, Any, Literal

from pydantic import Field

from core import models, quant
from core.data import Batch
from core.errors import Diverged
from core.lazy import F, Tensor, nn, torch
from core.train import LearningRate, OnEpoch, Params, Positive
from core.unlearn.base import CLASS_WISE, Method, Problem, lr_range

TRUST = 0.0025  # of a quantizer's parameters, a step; as the training loop bounds them
EMPTY_IN_A_ROW = 100  # rounds without an image through the gate after which the generator goes back


class ZeroShotParams(Params):
    """Options. Published: 4,000 rounds of one step of the generator and ten of the student.

    lr: Adam's, of all networks; and of the training on noise.
    pseudo_batches: rounds; with variant=noise, steps of training.
    student_steps: of a round. threshold: probability of a forgotten class above which an image does not pass.
    beta: weight of the attention maps. temperature: of both networks' answers.
    noise_steps, noise_penalty, noise_images: of the noise, for each class, as in UNSIR; its paper says no more.
    """

    variant: Literal["gkt", "noise"] = "gkt"
    lr: LearningRate = 1e-3
    pseudo_batches: Positive = 4000
    student_steps: Positive = 10
    threshold: Annotated[float, Field(ge=0, le=1)] = 0.01
    beta: Annotated[float, Field(ge=0)] = 250.0
    temperature: Annotated[float, Field(gt=0)] = 1.0
    noise_steps: Annotated[int, Field(ge=0)] = 40
    noise_penalty: Annotated[float, Field(ge=0)] = 0.1
    noise_images: Positive = 256


def attention_map(activation_BCHW: Tensor) -> Tensor:
    """Where a layer is active: mean of the squares over channels, length 1; B x H·W."""
    return F.normalize(activation_BCHW.float().square().mean(1).flatten(1))


def student_loss(
    student_logits: Tensor,
    teacher_logits: Tensor,
    student_maps: Sequence[Tensor],
    teacher_maps: Sequence[Tensor],
    beta: float,
) -> Tensor:
    """KL(teacher || student), a batch's mean, plus β Σ over layers of the attention maps' mean squared difference.

    maps: activations BCHW, a layer each.
    """
    apart = [
        (attention_map(s) - attention_map(t)).square().mean()
        for s, t in zip(student_maps, teacher_maps, strict=True)
    ]
    kl = divergence(student_logits, teacher_logits)
    return kl + beta * torch.stack(apart).sum() if apart else kl


def divergence(student_logits: Tensor, teacher_logits: Tensor) -> Tensor:
    """KL(teacher || student), a batch's mean."""
    log_p, log_q = teacher_logits.float().log_softmax(1), student_logits.float().log_softmax(1)
    return (log_p.exp() * (log_p - log_q)).sum(1).mean()


def band_pass(teacher_probabilities_NK: Tensor, forgotten: Sequence[int], threshold: float) -> Tensor:
    """True for images that the teacher gives at most the threshold for every forgotten class, bool N."""
    return (teacher_probabilities_NK[:, list(forgotten)] <= threshold).all(1)


def zero_shot(
    problem: Problem, params: ZeroShotParams, generator: torch.Generator, on_epoch: OnEpoch | None = None
) -> nn.Module:
    """Makes a network that does not know the classes to forget. BadInput unless they are whole."""
    forgotten = problem.whole_classes("ZeroShotMU")
    run = _transfer if params.variant == "gkt" else _train_on_noise
    model, facts = run(problem, params, forgotten, generator)
    if not all(bool(t.isfinite().all()) for t in model.state_dict().values()):
        raise Diverged("zero-shot training has lost its numbers")
    if on_epoch is not None:
        on_epoch(0, facts)
    return model.eval()


# --- gated knowledge transfer


class Maps:
    """The activations of a network's last forward pass that attention maps are made of.

    They are the inputs of convolutions, before any quantizer: of each size of feature maps the last one. The first
    convolution's, which are the images, do not count.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model, self._seen = model, dict[Any, Tensor]()
        layers = [m for m in model.modules() if isinstance(m, nn.Conv2d)]
        self._handles = [layer.register_forward_pre_hook(self._keep) for layer in layers[1:]]

    def __call__(self, x_BCHW: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Logits, and the activations."""
        self._seen.clear()
        logits: Tensor = self.model(x_BCHW)
        return logits, list(self._seen.values())

    def remove(self) -> None:
        """Takes the hooks out of the network."""
        for handle in self._handles:
            handle.remove()

    def _keep(self, _layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        self._seen[inputs[0].shape[2:]] = inputs[0]


def _transfer(
    problem: Problem, params: ZeroShotParams, forgotten: list[int], generator: torch.Generator
) -> tuple[nn.Module, dict[str, float]]:
    """A fresh student that learned from the original through the gate, and what passed it."""
    shape = problem.retain.pixels.shape
    maker = models.Generator(shape[2:], shape[1])
    models.initialise_(maker, generator)
    maker = maker.to(problem.device).train()
    original = copy.deepcopy(problem.model).eval().requires_grad_(False)
    student = models.initialise_(copy.deepcopy(problem.model).requires_grad_(True), generator)
    with torch.no_grad():
        quant.calibrate_(student, maker(_noise(params, generator, problem.device)))
    transfer = _Transfer(maker, Maps(student.train()), Maps(original), params, forgotten)
    for _ in range(params.pseudo_batches):
        transfer.round(_noise(params, generator, problem.device))
    transfer.student.remove()
    return student, {"loss": transfer.loss, "passed": transfer.passed / transfer.seen}


def _noise(params: ZeroShotParams, generator: torch.Generator, device: torch.device) -> Tensor:
    return torch.randn((params.batch_size, models.NOISE), generator=generator).to(device)


class _Transfer:
    """Rounds of generator and student."""

    def __init__(
        self, maker: nn.Module, student: Maps, teacher: Maps, params: ZeroShotParams, forgotten: list[int]
    ) -> None:
        self.maker, self.student, self.teacher = maker, student, teacher
        self.params, self.forgotten = params, forgotten
        self.make, self.learn = adam(maker, params.lr), adam(student.model, params.lr)
        self.seen = self.passed = self.empty = 0
        self.loss = 0.0
        self.good = copy.deepcopy(maker.state_dict())

    def round(self, z_BN: Tensor) -> None:
        """One step of the generator, away from agreement, and several of the student, towards it; on one noise."""
        for step in range(1 + self.params.student_steps):
            making = step == 0
            with torch.set_grad_enabled(making):
                x = self.maker(z_BN)
            if not self._step(x, making):
                break

    def _step(self, x_BCHW: Tensor, making: bool) -> bool:
        """False if no image passes the gate."""
        with torch.set_grad_enabled(making):
            teacher_BK, teacher_maps = self.teacher(x_BCHW)
        passes_B = band_pass(teacher_BK.detach().softmax(1), self.forgotten, self.params.threshold)
        count = int(passes_B.sum())
        self.seen, self.passed = self.seen + len(passes_B), self.passed + count
        if count < 2:  # normalisation needs two
            self._nothing_passed()
            return False
        self.empty = 0
        with unmoving(self.student.model) if making else nullcontext():
            student_BK, student_maps = self.student(x_BCHW[passes_B])
        t = self.params.temperature
        logits = student_BK / t, teacher_BK[passes_B] / t
        if making:
            descend_(self.make, -divergence(*logits))
            self.good = copy.deepcopy(self.maker.state_dict())
            return True
        maps = [a[passes_B] for a in teacher_maps]
        self.loss = descend_(self.learn, student_loss(*logits, student_maps, maps, self.params.beta))
        quant.keep_valid_(self.student.model)
        return True

    def _nothing_passed(self) -> None:
        self.empty += 1
        if self.empty >= EMPTY_IN_A_ROW:
            self.maker.load_state_dict(self.good)
            self.empty = 0


@contextmanager
def unmoving(model: nn.Module) -> Iterator[None]:
    """In eval mode for a while, so that looking at it moves no running statistic."""
    model.eval()
    try:
        yield
    finally:
        model.train()


def adam(model: nn.Module, lr: float) -> torch.optim.Adam:
    """Adam, whose steps are all about lr long: for a quantizer's parameters that is in proportion to their size."""
    apart = quant.quantizer_parameters(model)
    named = dict(model.named_parameters())
    sizes = {name: float(named[name].detach().abs().mean()) for name in apart}
    groups: list[dict[str, Any]] = [{"params": [p for name, p in named.items() if name not in apart]}]
    groups += [{"params": [named[name]], "lr": min(lr, TRUST * sizes[name])} for name in sorted(apart)]
    return torch.optim.Adam(groups, lr)


def descend_(optimizer: torch.optim.Adam, loss: Tensor, norm: float = 5.0) -> float:
    """One step, on a gradient clipped to the norm; returns the loss."""
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_([p for group in optimizer.param_groups for p in group["params"]], norm)
    optimizer.step()
    return float(loss.detach())


# --- error-minimising and error-maximising noise


def _train_on_noise(
    problem: Problem, params: ZeroShotParams, forgotten: list[int], generator: torch.Generator
) -> tuple[nn.Module, dict[str, float]]:
    """The original, trained further on noise alone."""
    kept = [label for label in range(problem.classes) if label not in problem.lost_classes()]
    noise = [
        learned_noise(problem, params, labels, sign, generator)
        for labels, sign in ((kept, 1.0), (forgotten, -1.0))
    ]
    images, labels = torch.cat([b.images for b in noise]), torch.cat([b.labels for b in noise])
    model = copy.deepcopy(problem.model).requires_grad_(True).train()
    optimizer, loss = adam(model, params.lr), 0.0
    for _ in range(params.pseudo_batches):
        index = torch.randint(len(labels), (params.batch_size,), generator=generator).to(problem.device)
        loss = descend_(optimizer, F.cross_entropy(model(images[index]), labels[index]))
        quant.keep_valid_(model)
    return model, {"loss": loss, "noise_images": float(len(labels))}


def learned_noise(
    problem: Problem, params: ZeroShotParams, classes: list[int], sign: float, generator: torch.Generator
) -> Batch:
    """Noise of each class, under it as the label, that minimises sign · CE + penalty · mean |x|² of the original."""
    model = copy.deepcopy(problem.model).eval().requires_grad_(False)
    shape = (len(classes) * params.noise_images, *problem.retain.pixels.shape[1:])
    noise = torch.randn(shape, generator=generator).to(problem.device).requires_grad_()
    labels = torch.tensor(classes, device=problem.device).repeat_interleave(params.noise_images)
    optimizer = torch.optim.Adam([noise], 0.1)
    for _ in range(params.noise_steps):
        penalty = params.noise_penalty * noise.square().flatten(1).sum(1).mean()
        loss = penalty + sign * F.cross_entropy(model(noise), labels)
        noise.grad = torch.autograd.grad(loss, noise)[0]
        optimizer.step()
    return Batch(noise.detach(), labels, None)


def _passes(params: Mapping[str, Any], _forget: float, _retain: float) -> float:
    """Generated images, of which the original and the generator see a part too."""
    steps = params["student_steps"] + 1 if params["variant"] == "gkt" else 1
    return float(params["pseudo_batches"] * steps * params["batch_size"]) * (5 / 3 if steps > 1 else 1)


METHOD = Method(
    "zero_shot",
    "ZeroShotMU",
    ZeroShotParams,
    lr_range(1e-4, 1e-2),  # one rate is published: a decade to either side
    zero_shot,
    scenarios=CLASS_WISE,
    passes=_passes,
)
