"""Which parameters are of which kind, where a method treats the kinds differently; and vectors of them."""

from __future__ import annotations

from collections.abc import Sequence

from core import quant
from core.lazy import Tensor, nn, torch

Vector = list[Tensor]  # one tensor per parameter that may move


def normalisation_parameters(model: nn.Module) -> set[str]:
    """Names of the scales and biases of normalisation layers."""
    kinds = nn.BatchNorm1d | nn.BatchNorm2d | nn.GroupNorm | nn.LayerNorm
    layers = ((name, m) for name, m in model.named_modules() if isinstance(m, kinds))
    return {f"{name}.{inner}" for name, m in layers for inner, _ in m.named_parameters()}


def moved_parameters(model: nn.Module, move_quantizers: bool) -> dict[str, nn.Parameter]:
    """What an edit of the weights moves: every parameter, without those of quantizers unless they are to."""
    spared = set() if move_quantizers else quant.quantizer_parameters(model)
    return {name: p for name, p in model.named_parameters() if name not in spared}


def last_linear(model: nn.Module) -> nn.Linear:
    """The last linear layer, a network's classifier."""
    *_, last = (m for m in model.modules() if isinstance(m, nn.Linear))
    return last


def filled(grads: Sequence[Tensor | None], like: Sequence[Tensor]) -> Vector:
    """The gradients, zeros in the place of those that are missing."""
    return [torch.zeros_like(p) if g is None else g for g, p in zip(grads, like, strict=True)]
