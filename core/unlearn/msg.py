"""MSG: draw weights anew that both sets agree on, and train those foremost (second in the NeurIPS 2023 challenge).

With g the gradient of L_r - L_f, on as many retained images as there are to forget, the share of every convolution's
weights with the smallest |g| gets fresh values; fine-tuning on the retain set moves the other ones a tenth as fast.
From the code that Cadet et al. 2024 (Deep Unlearn) took over.
"""

from __future__ import annotations

import copy
import math
from typing import Annotated, Literal

from pydantic import Field

from core import quant
from core.data import Images, batches, plain_batches
from core.errors import BadInput
from core.lazy import F, Tensor, nn, no_grad, torch
from core.train import LearningRate, OnEpoch, Positive, Schedule, fit
from core.unlearn.base import Method, Problem, Range, UnlearnParams
from core.unlearn.gradient_norms import gradient_probe

Convolutions = dict[str, "nn.Conv2d"]


class MSGParams(UnlearnParams):
    """Options beside the loop's. Epochs, rate and share are the published ones, with batches of 64 there.

    schedule: triangle, as published: up to lr in the first half of the epochs, then down.
    share: of every convolution's weights that are drawn anew.
    draw: fan_out is the published normal draw with deviation √(2 / fan-out), far above trained weights: weight
    quantizers start over from the new weights. layer draws with the deviation that the layer's own weights have, and
    leaves steps where they are.
    others: factor on the gradients of a convolution's other weights.
    """

    epochs: Positive = 5
    lr: LearningRate = 1e-3
    schedule: Schedule = "triangle"
    share: Annotated[float, Field(gt=0, le=1)] = 0.3
    draw: Literal["fan_out", "layer"] = "fan_out"
    others: Annotated[float, Field(ge=0, le=1)] = 0.1


def msg(
    problem: Problem, params: MSGParams, generator: torch.Generator, on_epoch: OnEpoch | None = None
) -> nn.Module:
    """Draws weights anew, then fine-tunes on the retain set. BadInput for a network without convolutions."""
    model = copy.deepcopy(problem.model)
    layers = convolutions(model, "MSG redraws weights of convolutions")
    seed = int(torch.randint(2**62, (), generator=generator))
    key = ("msg", params.batch_size, seed)
    gradients = problem.once(key, lambda: difference_gradients(problem, params.batch_size, seed))
    redrawn = {name: smallest(gradients[name], params.share) for name in layers}
    for name, layer in layers.items():
        redraw_(layer, redrawn[name], params.draw, generator)

    def slow_others(_epoch: int) -> None:
        for name, layer in layers.items():
            assert layer.weight.grad is not None
            layer.weight.grad.mul_(torch.where(redrawn[name], 1.0, params.others))

    return fit(
        model,
        lambda _epoch: batches(problem.retain, params.batch_size, problem.augment, generator),
        params,
        generator,
        on_gradient=slow_others,
        epoch_facts=gradient_probe(model, problem, params),
        on_epoch=on_epoch,
        callbacks=problem.callbacks,
    )


def convolutions(model: nn.Module, what: str) -> Convolutions:
    """The convolutions by name; BadInput, which begins with what a method does to them, if there are none."""
    found = {name: m for name, m in model.named_modules() if isinstance(m, nn.Conv2d)}
    if not found:
        raise BadInput(f"{what}, and this network has none: take another network, or leave the method out")
    return found


def difference_gradients(problem: Problem, batch_size: int, seed: int) -> dict[str, Tensor]:
    """∇(L_r - L_f) by convolution, summed over batches of the forget set and of as many retained images, drawn."""
    own = torch.Generator().manual_seed(seed)
    count = min(len(problem.forget), len(problem.retain))
    kept = problem.retain.select(torch.randperm(len(problem.retain), generator=own)[:count])
    model = copy.deepcopy(problem.model).eval()
    weights = {name: layer.weight for name, layer in convolutions(model, "").items()}
    total = {name: torch.zeros_like(weight) for name, weight in weights.items()}

    def add(images: Images, sign: float) -> None:
        for batch in plain_batches(images, batch_size, problem.augment):
            loss = sign * F.cross_entropy(model(batch.images), batch.labels)
            for name, grad in zip(weights, torch.autograd.grad(loss, list(weights.values())), strict=True):
                total[name] += grad

    add(kept, 1.0)
    add(problem.forget, -1.0)
    return total


def smallest(gradient: Tensor, share: float) -> Tensor:
    """True at the round(share · n) of n entries with the smallest absolute gradient, in its shape."""
    where = torch.zeros_like(gradient, dtype=torch.bool, memory_format=torch.contiguous_format).flatten()
    where[gradient.abs().flatten().topk(round(share * gradient.numel()), largest=False).indices] = True
    return where.view(gradient.shape)


@no_grad
def redraw_(
    layer: nn.Conv2d, where: Tensor, draw: Literal["fan_out", "layer"], generator: torch.Generator
) -> None:
    """Fresh normal weights in the places of a mask; everything else in the layer stays, beside its steps."""
    fan_out = layer.weight[0, 0].numel() * layer.out_channels
    deviation = math.sqrt(2 / fan_out) if draw == "fan_out" else float(layer.weight.std(correction=0))
    fresh = torch.randn(layer.weight.shape, generator=generator).to(layer.weight) * deviation
    layer.weight.copy_(torch.where(where, fresh, layer.weight))
    if draw == "fan_out":
        quant.restart_weight_quantizers_(layer)


def _space(_arch: str) -> dict[str, Range]:
    # one setting is published, and its benchmark searched both: a decade to either side of the rate
    return {"lr": Range(1e-4, 1e-1), "share": Range(0.1, 0.9, log=False)}


METHOD = Method(
    "msg",
    "MSG",
    MSGParams,
    _space,
    msg,
    passes=lambda p, forget, retain: p["epochs"] * retain + 2 * forget,
)
