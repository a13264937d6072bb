"""Low-rank updates of weights (LoRA, Hu et al. 2022), in front of whatever a layer does with its weight."""

import math

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

LARGEST_SHARE = 0.1  # of a layer's entries that its two factors may have together


class LowRank(nn.Module):
    """W + (α/r) B A for a weight W of any shape, taken as a matrix C_out x rest; B starts at zero.

    As a parametrization it comes before the layer's fake quantizer, Q(W + (α/r) B A), so that the network that is
    deployed has no layer more than the original.
    """

    def __init__(self, weight: Tensor, rank: int, alpha: float, generator: torch.Generator) -> None:
        super().__init__()
        rows, columns = len(weight), weight[0].numel()
        a_RI = torch.randn((rank, columns), generator=generator) / math.sqrt(columns)
        self.a_RI = nn.Parameter(a_RI.to(weight))
        self.b_OR = nn.Parameter(weight.new_zeros(rows, rank))
        self.scale = alpha / rank

    def forward(self, weight: Tensor) -> Tensor:
        """The updated weight, in its own precision also under autocast."""
        with torch.autocast(weight.device.type, enabled=False):
            return weight + self.scale * (self.b_OR @ self.a_RI).view(weight.shape)


def layer_rank(weight: Tensor, rank: int) -> int:
    """The rank, or as much of it as `LARGEST_SHARE` allows a small layer; at least 1."""
    room = LARGEST_SHARE * weight.numel() / (len(weight) + weight[0].numel())
    return max(1, min(rank, int(room)))


def weighted_layers(model: nn.Module) -> dict[str, nn.Conv2d | nn.Linear]:
    """Convolutions and linear layers by name, in order; the last one is the classifier."""
    return {name: m for name, m in model.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)}


def add_low_rank_(model: nn.Module, rank: int, alpha: float, generator: torch.Generator) -> float:
    """Freezes the model and gives every weight but the classifier's an update that trains, in place.

    Returns the share of parameters that train, of the model's own.
    """
    own = sum(p.numel() for p in model.parameters())
    model.requires_grad_(False)
    *layers, _ = weighted_layers(model).values()
    for layer in layers:
        update = LowRank(layer.weight, layer_rank(layer.weight, rank), alpha, generator)
        parametrize.register_parametrization(layer, "weight", update)
    return sum(p.numel() for p in model.parameters() if p.requires_grad) / own


@torch.no_grad()
def merged(model: nn.Module, original: nn.Module) -> nn.Module:
    """The original, a copy, with the updated weights of `model` in the place of its own."""
    for name, layer in weighted_layers(original).items():
        updated = model.get_submodule(name).weight
        assert isinstance(updated, Tensor)
        layer.weight.copy_(updated)
    return original
