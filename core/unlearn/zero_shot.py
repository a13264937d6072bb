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
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from core import models, quant
from core.data import Batch
from core.errors import Diverged
from core.lazy import F, Tensor, nn, torch
from core.train import LearningRate, OnEpoch, Params, Positive
from core.unlearn.base import CLASS_WISE, Method, Problem, lr_range
from core.unlearn.gated_transfer import (
    Maps,
    Transfer,
    adam,
    attention_map as attention_map,
    band_pass as band_pass,
    descend_,
    student_loss as student_loss,
)


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


def _transfer(
    problem: Problem, params: ZeroShotParams, forgotten: list[int], generator: torch.Generator
) -> tuple[nn.Module, dict[str, float]]:
    """A fresh student that learned from the original through the gate, and what passed it."""
    shape = problem.retain.pixels.shape
    with torch.random.fork_rng(devices=[]):  # torch's layers draw from the global generator
        maker = models.Generator(shape[2:], shape[1])
    models.initialise_(maker, generator)
    maker = maker.to(problem.device).train()
    original = copy.deepcopy(problem.model).eval().requires_grad_(False)
    student = models.initialise_(copy.deepcopy(problem.model).requires_grad_(True), generator)
    with torch.no_grad():
        quant.calibrate_(student, maker(_noise(params, generator, problem.device)))
    transfer = Transfer(maker, Maps(student.train()), Maps(original), params, forgotten)
    for _ in range(params.pseudo_batches):
        transfer.round(_noise(params, generator, problem.device))
    transfer.student.remove()
    return student, {"loss": transfer.loss, "passed": transfer.passed / transfer.seen}


def _noise(params: ZeroShotParams, generator: torch.Generator, device: torch.device) -> Tensor:
    return torch.randn((params.batch_size, models.NOISE), generator=generator).to(device)


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
