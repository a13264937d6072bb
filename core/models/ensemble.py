"""Several networks of one architecture as one module."""

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from core.models.aggregation import Aggregate, aggregate


class Ensemble(nn.Module):
    """Networks whose answers are put together; while it trains, one of them at a time.

    active: the number of the network that is asked alone; None asks all that have a vote.
    """

    voting: Tensor

    def __init__(self, networks: Sequence[nn.Module], how: Aggregate) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)
        self.how: Aggregate = how
        self.active: int | None = None
        self.register_buffer("voting", torch.ones(len(networks), dtype=torch.bool))

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Log-probabilities B x classes; the logits of the active network if there is one."""
        if self.active is not None:
            logits: Tensor = self.networks[self.active](x_BCHW)
            return logits
        logits_SBK = torch.stack([network(x_BCHW).float() for network in self.networks])
        return aggregate(logits_SBK[self.voting], self.how)


def ensemble_of(network: nn.Module, count: int, how: Aggregate) -> nn.Module:
    """So many copies of a network as one; a single one is the network itself."""
    return network if count == 1 else Ensemble([copy.deepcopy(network) for _ in range(count)], how)


def activate_(model: nn.Module, number: int | None) -> None:
    """Lets one network of an ensemble answer alone, or all of them again; of any other network nothing changes."""
    if isinstance(model, Ensemble):
        model.active = number


def members(model: nn.Module) -> list[nn.Module]:
    """The networks in an ensemble; of any other network itself."""
    return list(model.networks) if isinstance(model, Ensemble) else [model]
