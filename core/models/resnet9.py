"""ResNet-9, the network of the DAWNBench records on CIFAR-10 (Page 2018)."""

from torch import Tensor, nn

from core.models.shapes import scaled
from core.quant import QuantSpec

_LOGIT_SCALE = 0.125  # as there


class _Residual(nn.Module):
    """The input plus two blocks of it."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(_block(channels, channels), _block(channels, channels))

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """The same shape."""
        out: Tensor = x_BCHW + self.body(x_BCHW)
        return out


class ResNet9(nn.Module):
    """Eight 3x3 convolutions, two pairs of them residual, and one linear layer on the maximum of every channel."""

    def __init__(self, classes: int, width: float) -> None:
        super().__init__()
        first, second, third, fourth = (scaled(size, width) for size in (64, 128, 256, 512))
        self.features = nn.Sequential(
            _block(3, first),
            _block(first, second, pool=True),
            _Residual(second),
            _block(second, third, pool=True),
            _block(third, fourth, pool=True),
            _Residual(fourth),
        )
        self.classifier = nn.Linear(fourth, classes, bias=False)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Logits, B x classes."""
        # amax() instead of max pooling: the same value for any size, deterministic backward on CUDA
        logits: Tensor = self.classifier(self.features(x_BCHW).amax((2, 3)))
        return logits * _LOGIT_SCALE


def _block(inputs: int, outputs: int, *, pool: bool = False) -> nn.Sequential:
    layers = [
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    ]
    return nn.Sequential(*layers, *([nn.MaxPool2d(2)] if pool else []))


def resnet9(classes: int, width: float, _quant: QuantSpec) -> nn.Module:
    """ResNet-9; width 1 is the usual network (6,573,120 parameters for 10 classes)."""
    return ResNet9(classes, width)
