"""A last linear layer without bias whose input has length 1, which bounds what a single image can do to it."""

from torch import Tensor, nn
from torch.nn import functional as F

from core.errors import BadInput
from core.models.low_rank import weighted_layers
from core.quant import QuantLinear


class UnitLinear(nn.Linear):
    """A linear layer on features of length 1."""

    def forward(self, x_BD: Tensor) -> Tensor:
        """Products with the directions of the features."""
        return F.linear(self.unit(x_BD), self.weight)

    def unit(self, x_BD: Tensor) -> Tensor:
        """The features that the weights see."""
        return F.normalize(x_BD)


class UnitQuantLinear(QuantLinear):
    """The same on quantized weights. Features are quantized first, so that they have length 1 after it."""

    def forward(self, x_BD: Tensor) -> Tensor:
        """Products of the quantized weights with the directions of the quantized features."""
        return F.linear(self.unit(x_BD), self.weight_quantizer(self.weight))

    def unit(self, x_BD: Tensor) -> Tensor:
        """The features that the weights see."""
        return F.normalize(self.input_quantizer(x_BD).float())


UnitHead = UnitLinear | UnitQuantLinear


def with_unit_head(model: nn.Module) -> nn.Module:
    """The model, its last layer in the unit form, in place; BadInput if that layer is no linear one."""
    name, last = list(weighted_layers(model).items())[-1]
    if not isinstance(last, nn.Linear):
        raise BadInput(f"a certified head is a linear layer, and {name} of this network is none")
    owner, _, attribute = name.rpartition(".")
    setattr(model.get_submodule(owner), attribute, _unit(last))
    return model


def _unit(last: nn.Linear) -> UnitHead:
    """A layer in the unit form that shares the weight and the quantizers of another one."""
    kind = UnitQuantLinear if isinstance(last, QuantLinear) else UnitLinear
    new = kind(last.in_features, last.out_features, bias=False, device="meta")
    new.weight = last.weight
    if isinstance(last, QuantLinear) and isinstance(new, QuantLinear):
        new.weight_quantizer, new.input_quantizer = last.weight_quantizer, last.input_quantizer
    return new


def unit_head_of(model: nn.Module) -> UnitHead:
    """The last layer of a network with such a head."""
    last = list(weighted_layers(model).values())[-1]
    assert isinstance(last, UnitHead)
    return last


def unit_features(model: nn.Module, x_BCHW: Tensor) -> Tensor:
    """What the head of a network with such a head sees of images, BD."""
    seen: list[Tensor] = []
    head = unit_head_of(model)
    handle = head.register_forward_pre_hook(lambda _layer, inputs: seen.append(head.unit(inputs[0])))
    try:
        model(x_BCHW)
    finally:
        handle.remove()
    return seen[0]
