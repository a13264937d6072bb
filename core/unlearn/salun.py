"""SalUn: random labels, but only salient weights may move (Fan et al. 2024)."""

from __future__ import annotations

import copy
from typing import Annotated, Literal

from pydantic import Field

from core import quant
from core.data import plain_batches
from core.lazy import F, Tensor, nn, no_grad, torch
from core.train import EpochFacts, OnEpoch, fit
from core.unlearn.base import Method, Problem, Range
from core.unlearn.gradient_norms import gradient_probe
from core.unlearn.passes import both_sets
from core.unlearn.random_labels import RelabelledEpochs, RLParams

Mask = dict[str, Tensor]  # by parameter name: True for the entries that may move


class SalUnParams(RLParams):
    """Options beside RL's.

    fraction: share of the weights that may move (1 is RL).
    masked_weights: frozen holds the others exactly, as the paper's equation says; decaying only zeroes
    their gradients, so that weight decay and momentum still move them, as all published numbers have it.
    mask_augmented: whether saliency is measured on augmented images.
    mask_quantizers: ranked treats steps and offsets like any weight, as published; a step that may not move
    while its weights do can saturate the layer. free leaves them out of the ranking and lets them all move.
    """

    fraction: Annotated[float, Field(ge=0, le=1)] = 0.5
    masked_weights: Literal["frozen", "decaying"] = "frozen"
    mask_augmented: bool = False
    mask_quantizers: Literal["ranked", "free"] = "ranked"


def saliency_mask(gradients: dict[str, Tensor], fraction: float) -> Mask:
    """True for the `fraction` of all entries with the largest absolute gradient.

    Args:
        gradients: by parameter name, any shapes.
        fraction: share that MAY move; exactly int(fraction · total) entries become True.

    Returns: bool tensors of the gradients' shapes. Ties are broken by position, so the mask is the same
    on every run.
    """
    flat = torch.cat([g.abs().flatten() for g in gradients.values()])
    mask = torch.zeros_like(flat, dtype=torch.bool)
    mask[flat.sort(descending=True, stable=True).indices[: int(fraction * flat.numel())]] = True
    parts = torch.split(mask, [g.numel() for g in gradients.values()])
    return {name: part.view(g.shape) for (name, g), part in zip(gradients.items(), parts, strict=True)}


def forget_gradient(problem: Problem, params: SalUnParams, generator: torch.Generator) -> dict[str, Tensor]:
    """Sum over batches of the mean-loss gradient on the forget set, in eval mode, by parameter name."""
    model = copy.deepcopy(problem.model).eval()
    named = dict(model.named_parameters())
    total = {name: torch.zeros_like(p) for name, p in named.items()}
    augmented = generator if params.mask_augmented else None
    for batch in plain_batches(problem.forget, params.batch_size, problem.augment, augmented):
        loss = F.cross_entropy(model(batch.images), batch.labels)
        grads = torch.autograd.grad(loss, list(named.values()), allow_unused=True)
        for name, grad in zip(named, grads, strict=True):
            if grad is not None:
                total[name] += grad
    return total


def movable(problem: Problem, params: SalUnParams, generator: torch.Generator) -> Mask:
    """The mask of the problem, with quantizers in or out of the ranking."""
    key = ("salun", params.batch_size, params.mask_augmented, generator.initial_seed())
    gradients = problem.once(key, lambda: forget_gradient(problem, params, generator))
    free = quant.quantizer_parameters(problem.model) if params.mask_quantizers == "free" else set()
    ranked = {name: grad for name, grad in gradients.items() if name not in free}
    ones = {name: torch.ones_like(gradients[name], dtype=torch.bool) for name in free}
    return saliency_mask(ranked, params.fraction) | ones


def masked_quantizers(model: nn.Module, mask: Mask) -> EpochFacts:
    """The fact `masked_quantizers`: share (0-1) of quantizer parameters that may not move, if there are any."""
    entries = [mask[name].flatten() for name in sorted(quant.quantizer_parameters(model))]
    return {"masked_quantizers": 1 - float(torch.cat(entries).float().mean())} if entries else {}


def salun(
    problem: Problem, params: SalUnParams, generator: torch.Generator, on_epoch: OnEpoch | None = None
) -> nn.Module:
    """RL on the weights that the forget set's loss is most sensitive to.

    Tells `masked_quantizers` with the first epoch.
    """
    # The mask draws from its own generator, so that fraction 1 repeats RL number for number.
    own = torch.Generator().manual_seed(generator.initial_seed())
    mask = movable(problem, params, own)
    model = copy.deepcopy(problem.model)
    epochs = RelabelledEpochs(problem, params, generator)
    probe = gradient_probe(model, problem, params, lambda: epochs.forget)
    limits = _Limits(model, mask)

    def facts(epoch: int) -> EpochFacts:
        return probe(epoch) | (masked_quantizers(model, mask) if epoch == 0 else {})

    return fit(
        model,
        epochs,
        params,
        generator,
        on_gradient=limits.mask_gradients,
        on_update=limits.hold_masked if params.masked_weights == "frozen" else None,
        epoch_facts=facts,
        callbacks=problem.callbacks,
        on_epoch=on_epoch,
    )


class _Limits:
    """Keeps a network's training to the mask, in operations on all parameters at once."""

    def __init__(self, model: nn.Module, mask: Mask) -> None:
        named = dict(model.named_parameters())
        self._parameters: list[Tensor] = list(named.values())
        self._start = [p.detach().clone() for p in self._parameters]
        self._free = [mask[name].to(p.dtype) for name, p in named.items()]
        self._frozen = [1 - free for free in self._free]

    def mask_gradients(self, _epoch: int) -> None:
        """Zeroes the gradients of what may not move."""
        pairs = [
            (p.grad, free) for p, free in zip(self._parameters, self._free, strict=True) if p.grad is not None
        ]
        torch._foreach_mul_([grad for grad, _ in pairs], [free for _, free in pairs])

    @no_grad
    def hold_masked(self) -> None:
        """Puts what may not move back; at weights 0 and 1 the interpolation is exact."""
        torch._foreach_lerp_(self._parameters, self._start, self._frozen)


def _space(_arch: str) -> dict[str, Range]:
    return {"lr": Range(5e-4, 5e-2), "fraction": Range(0.1, 0.9, log=False)}


METHOD = Method(
    "salun",
    "SalUn",
    SalUnParams,
    _space,
    salun,
    released={
        "order": "sequential",
        "true_label_possible": True,
        "masked_weights": "decaying",
        "mask_augmented": True,
        "decay_quantizers": True,
    },
    passes=lambda p, forget, retain: forget + both_sets(p, forget, retain),
)
