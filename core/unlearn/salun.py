"""SalUn: random labels, but only salient weights may move (Fan et al. 2024)."""

import copy
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from core.data.loader import plain_batches
from core.train import OnEpoch, fit
from core.unlearn.base import Method, Problem, Range
from core.unlearn.random_labels import RLParams, relabelled_epochs


class SalUnParams(RLParams):
    """Options beside RL's.

    fraction: share of the weights that may move (1 is RL).
    masked_weights: frozen holds the others exactly, as the paper's equation says; decaying only zeroes
    their gradients, so that weight decay and momentum still move them, as all published numbers have it.
    mask_augmented: whether saliency is measured on augmented images.
    """

    fraction: Annotated[float, Field(ge=0, le=1)] = 0.5
    masked_weights: Literal["frozen", "decaying"] = "frozen"
    mask_augmented: bool = False


def saliency_mask(gradients: dict[str, Tensor], fraction: float) -> dict[str, Tensor]:
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


def salun(
    problem: Problem, params: SalUnParams, generator: torch.Generator, on_epoch: OnEpoch | None = None
) -> nn.Module:
    """RL on the weights that the forget set's loss is most sensitive to."""
    # The mask draws from its own generator, so that fraction 1 repeats RL number for number.
    own = torch.Generator().manual_seed(generator.initial_seed())
    mask = saliency_mask(forget_gradient(problem, params, own), params.fraction)
    model = copy.deepcopy(problem.model)
    start = {name: p.detach().clone() for name, p in model.named_parameters()}

    def mask_gradients(_epoch: int) -> None:
        for name, p in model.named_parameters():
            if p.grad is not None:
                p.grad.mul_(mask[name])

    @torch.no_grad()
    def hold_masked() -> None:
        for name, p in model.named_parameters():
            p.copy_(torch.where(mask[name], p, start[name]))

    return fit(
        model,
        relabelled_epochs(problem, params, generator),
        params,
        generator,
        on_gradient=mask_gradients,
        on_update=hold_masked if params.masked_weights == "frozen" else None,
        on_epoch=on_epoch,
    )


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
)
