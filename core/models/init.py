"""Fresh weights from an explicit generator."""

import math

import torch
from torch import nn

from core.models.released import LearnableBias
from core.quant import FakeQuantizer, restart_weight_quantizers_

NORMALISATION = (nn.modules.batchnorm._BatchNorm, nn.GroupNorm, nn.LayerNorm)
OTHER_STD = 0.02  # of what layers of other kinds hold, such as a transformer's tokens and positions
PRELU_SLOPE = 0.25  # of negative inputs, He et al. 2015


@torch.no_grad()
def initialise_(model: nn.Module, generator: torch.Generator) -> nn.Module:
    """Draws fresh weights in module order and resets normalisation layers, in place; returns the model.

    Convolutions: normal, fan-out, ReLU gain (as torchvision), bias 0. Linear: uniform ±1/sqrt(fan-in), bias
    likewise (as torch). PReLU: slope 0.25. Learned shifts: 0. Anything else: normal with deviation 0.02, biases 0.
    Weight quantizers restart from the new weights.
    The generator is on the CPU, so every device starts from the same numbers.
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            fan_out = module.weight[0, 0].numel() * module.out_channels // module.groups
            _fill_normal_(module.weight, math.sqrt(2 / fan_out), generator)
            if module.bias is not None:
                module.bias.zero_()
        elif isinstance(module, nn.Linear):
            bound = 1 / math.sqrt(module.in_features)
            _fill_uniform_(module.weight, bound, generator)
            if module.bias is not None:
                _fill_uniform_(module.bias, bound, generator)
        elif isinstance(module, NORMALISATION):
            module.reset_parameters()
        elif isinstance(module, nn.PReLU):
            module.weight.fill_(PRELU_SLOPE)
        elif isinstance(module, LearnableBias):
            module.bias.zero_()
        elif not isinstance(module, FakeQuantizer):
            for name, parameter in module.named_parameters(recurse=False):
                if name.endswith("bias"):
                    parameter.zero_()
                else:
                    _fill_normal_(parameter, OTHER_STD, generator)
    restart_weight_quantizers_(model)
    return model


def _fill_normal_(tensor: torch.Tensor, std: float, generator: torch.Generator) -> None:
    tensor.copy_(torch.randn(tensor.shape, generator=generator) * std)


def _fill_uniform_(tensor: torch.Tensor, bound: float, generator: torch.Generator) -> None:
    tensor.copy_((torch.rand(tensor.shape, generator=generator) * 2 - 1) * bound)
