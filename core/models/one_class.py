"""Networks that each know one class: how far an image lies from where the class is mapped to (Ruff et al. 2018)."""

import copy

import torch
from torch import Tensor, nn

from core.models.ensemble import Ensemble
from core.models.init import NORMALISATION
from core.models.low_rank import weighted_layers
from core.models.released import LearnableBias
from core.quant import quantizers

_NEAREST = 0.1  # no entry of a centre is nearer to 0, which a network could reach by its weights alone
_NEVER = -1e4  # score of a class whose network is gone


class OneClass(nn.Module):
    """A network without biases, whose answer is the squared distance of its outputs to a centre that stays.

    scale: mean distance of what it was trained on, which makes distances of different networks comparable.
    """

    centre: Tensor
    scale: Tensor

    def __init__(self, network: nn.Module, outputs: int) -> None:
        super().__init__()
        self.network = without_biases_(network)
        self.register_buffer("centre", torch.zeros(outputs))
        self.register_buffer("scale", torch.ones(()))

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Squared distances, B x 1."""
        return (self.network(x_BCHW).float() - self.centre).square().sum(1, keepdim=True)

    @torch.no_grad()
    def centre_(self, x_BCHW: Tensor) -> None:
        """Puts the centre at the mean of the outputs, as they are in training; running statistics stay."""
        twin = copy.deepcopy(self.network).train()
        mean = twin(x_BCHW).float().mean(0)
        self.centre.copy_(torch.where(mean < 0, mean.clamp(max=-_NEAREST), mean.clamp(min=_NEAREST)))


class OneClassEnsemble(Ensemble):
    """A network for each class; an image is of the class whose network it lies nearest to."""

    def __init__(self, network: nn.Module, classes: int) -> None:
        super().__init__([OneClass(copy.deepcopy(network), classes) for _ in range(classes)], "mean")

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Log-probabilities B x classes; squared distances B x 1 of the active network if there is one."""
        if self.active is not None:
            found: Tensor = self.networks[self.active](x_BCHW)
            return found
        scaled = [network(x_BCHW) / network.scale for network in self.networks]
        return torch.where(self.voting, -torch.cat(scaled, 1), _NEVER).log_softmax(1)


def one_class_ensemble(network: nn.Module) -> nn.Module:
    """A network of its own for each class that an architecture's network tells apart."""
    last = list(weighted_layers(network).values())[-1]
    return OneClassEnsemble(network, len(last.weight))


def without_biases_(network: nn.Module) -> nn.Module:
    """Takes the biases of layers away, in place."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.bias = None
    return network


def train_shifts_(network: nn.Module, *, trains: bool) -> None:
    """Lets what is added to activations train, or keeps it from that.

    A network that can learn a constant maps everything to the centre. What normalisation adds then stays 0, and
    quantizers' offsets stay where calibration put them.
    """
    for module in network.modules():
        if isinstance(module, (LearnableBias, *NORMALISATION)) and module.bias is not None:
            module.bias.requires_grad_(trains)
    for _, quantizer in quantizers(network):
        offset = getattr(quantizer, "offset", None)
        if isinstance(offset, nn.Parameter):
            offset.requires_grad_(trains)
