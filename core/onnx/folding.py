"""Batch normalisation taken into the scales of the layer before it: codes stay, every channel has a step of its own."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, fx, nn


class Fold(NamedTuple):
    """What a normalisation in eval mode does to each channel: y · factor + shift."""

    factor: Tensor
    shift: Tensor


def fold_of(norm: nn.BatchNorm2d) -> Fold | None:
    """The normalisation as a factor and a shift; None where a factor is not positive, which would turn steps around."""
    if norm.running_mean is None or norm.running_var is None:
        return None
    weight = torch.ones_like(norm.running_mean) if norm.weight is None else norm.weight.detach()
    bias = torch.zeros_like(norm.running_mean) if norm.bias is None else norm.bias.detach()
    factor = weight / (norm.running_var + norm.eps).sqrt()
    return Fold(factor, bias - norm.running_mean * factor) if bool((factor > 0).all()) else None


def per_channel(values: Tensor, dims: int) -> Tensor:
    """A vector as (C, 1, …), of `dims` dimensions: one entry for each output channel of a weight."""
    return values.reshape(-1, *(1,) * (dims - 1))


def folds(operations: fx.GraphModule) -> dict[fx.Node, Fold]:
    """Convolutions whose only reader is a normalisation that can be folded into them."""
    found = {}
    for node in operations.graph.nodes:
        norm, before = _layer(operations, node), node.args[0] if node.args else None
        if not isinstance(norm, nn.BatchNorm2d) or not isinstance(before, fx.Node):
            continue
        if isinstance(_layer(operations, before), nn.Conv2d):
            fold = fold_of(norm)
            if fold is not None and len(before.users) == 1:
                found[before] = fold
    return found


def _layer(operations: fx.GraphModule, node: fx.Node) -> nn.Module | None:
    return operations.get_submodule(str(node.target)) if node.op == "call_module" else None
