"""SSD: dampen the parameters that matter far more to the forget set than to all data (Foster et al. 2024).

With I_f and I_D the diagonals of the Fisher matrix on D_f and on the data to compare with (see `reference`),
θ ← min(λ I_D / I_f, 1) · θ wherever I_f > α I_D, and everything else stays.

No step is trained, so nothing is repaired afterwards. On a quantized network the latent weights shrink and the steps
stay: a weight changes only if it crosses a rounding boundary, and a dampened one usually does, towards the code 0.
"""

from __future__ import annotations

import copy
from typing import Annotated, Literal

from pydantic import Field

from core import quant
from core.data import Images, concat, plain_batches
from core.lazy import nn, no_grad, torch
from core.train import OnEpoch, Params
from core.unlearn.base import Method, Problem, Range
from core.unlearn.fisher import batch_fisher, label_losses, sampled_fisher
from core.unlearn.parameters import Vector, moved_parameters


class SSDParams(Params):
    """Options.

    alpha: how many times more a parameter must matter to the forget set to be selected.
    dampening: λ; 1 as in all published runs, smaller dampens more.
    fisher: batch squares the gradients of whole batches, as the published code does and its α is meant for; it
    depends on batch_size. sample is the diagonal of the empirical Fisher matrix, estimated with `draws` draws
    of signs, see `sampled_fisher`.
    reference: what I_D is measured on. all is D with the forget set in it, as published, so that it can be
    computed before anybody asks to be forgotten. But I_D ≥ I_f n_f/n then: at 10 % forgotten no parameter has an
    I_f above 10 I_D, and the published α selects nothing. retain is D_r alone, which is the same where n_f ≪ n.
    move_quantizers: dampen steps and offsets of quantizers too, as published code would: it goes over all
    parameters. A dampened step rescales its whole layer.
    """

    alpha: Annotated[float, Field(gt=0)] = 10.0
    dampening: Annotated[float, Field(ge=0)] = 1.0
    fisher: Literal["batch", "sample"] = "batch"
    draws: Annotated[int, Field(ge=1)] = 4
    reference: Literal["retain", "all"] = "retain"
    move_quantizers: bool = False


def ssd(
    problem: Problem, params: SSDParams, generator: torch.Generator, on_epoch: OnEpoch | None = None
) -> nn.Module:
    """One edit in eval mode, from two passes over plain images; tells the share `dampened` of the entries.

    Draws numbers for fisher=sample alone.
    """
    model = copy.deepcopy(problem.model).eval()
    moved: Vector = list(moved_parameters(model, params.move_quantizers).values())
    seed = int(torch.randint(2**62, (), generator=generator)) if params.fisher == "sample" else 0

    def importance(images: Images) -> Vector:
        passes = plain_batches(images, params.batch_size, problem.augment)
        if params.fisher == "batch":
            return batch_fisher(model, moved, passes)
        own = torch.Generator().manual_seed(seed)
        return sampled_fisher(model, moved, passes, label_losses, own, params.draws)

    def measured() -> tuple[Vector, Vector]:
        retain, forget = problem.retain, problem.forget
        return importance(forget), importance(concat(retain, forget) if params.reference == "all" else retain)

    # α and λ are all that the trials of a search differ in
    key = ("ssd", params.model_dump_json(exclude={"alpha", "dampening"}), seed)
    dampened = dampen_(moved, *problem.once(key, measured), params.alpha, params.dampening)
    quant.keep_valid_(model)
    if on_epoch is not None:
        on_epoch(0, {"dampened": dampened})
    return model


@no_grad
def dampen_(moved: Vector, forget: Vector, reference: Vector, alpha: float, dampening: float) -> float:
    """Multiplies every selected entry by β = min(λ I_D / I_f, 1), in place; returns the share (0-1) selected."""
    selected = []
    for p, i_f, i_d in zip(moved, forget, reference, strict=True):
        chosen = i_f > alpha * i_d  # so that I_f > 0
        p.mul_(torch.where(chosen, (dampening * i_d / i_f).clamp(max=1), 1.0))
        selected.append(chosen.sum())
    return float(torch.stack(selected).sum()) / sum(p.numel() for p in moved)


# Published settings lie between 1 and 50 (10 on CIFAR-10). Below 1 nothing changes while λ is 1: β is 1 there.
METHOD = Method(
    "ssd",
    "SSD",
    SSDParams,
    lambda _arch: {"alpha": Range(1.0, 100.0)},
    ssd,
    released={"move_quantizers": True},
    passes=lambda _p, forget, retain: forget + retain,
)
