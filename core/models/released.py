"""The residual block of the published Q-MUL code (ALGORITHMS 6.5), after ReActNet (Liu et al. 2020)."""

import torch
from torch import Tensor, nn


class LearnableBias(nn.Module):
    """Adds one learned number to each channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(1, channels, 1, 1))

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """x + bias, in x's dtype."""
        return x_BCHW + self.bias.to(x_BCHW.dtype)


def shifted_prelu(channels: int) -> nn.Sequential:
    """A PReLU with a slope for each channel, between two learned shifts."""
    return nn.Sequential(LearnableBias(channels), nn.PReLU(channels), LearnableBias(channels))


class ReleasedBlock(nn.Module):
    """Two times shifted PReLU, 3x3 convolution with bias, normalisation; then the shortcut and a shifted PReLU.

    Where the usual basic block ends in a ReLU after the sum, this one also has a nonlinearity of its own in
    front of either convolution. Quantizers see its output, which is signed.
    """

    def __init__(self, inputs: int, outputs: int, stride: int, downsample: nn.Module | None = None) -> None:
        super().__init__()
        self.body = nn.Sequential(*_layers(inputs, outputs, stride), *_layers(outputs, outputs, 1))
        self.downsample = nn.Identity() if downsample is None else downsample
        self.activation = shifted_prelu(outputs)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """B x outputs x H/stride x W/stride."""
        out: Tensor = self.activation(self.body(x_BCHW) + self.downsample(x_BCHW))
        return out


def _layers(inputs: int, outputs: int, stride: int) -> list[nn.Module]:
    convolution = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=True)
    return [shifted_prelu(inputs), convolution, nn.BatchNorm2d(outputs)]
