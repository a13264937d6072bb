"""AlexNet (Krizhevsky et al. 2012) for small images: torchvision's channels behind a gentler first convolution."""

from torch import Tensor, nn

from core.models.shapes import scaled, to_grid
from core.quant import QuantSpec

_LAST, _HIDDEN, _DROPOUT = 2, 4096, 0.5  # side of the feature maps behind the convolutions; units; of either


class AlexNet(nn.Module):
    """Five 3x3 convolutions, the first of stride 2, three poolings, and three linear layers with dropout 0.5.

    The linear layers read 2 × 2 cells, what images of 28 and of 32 pixels come to.
    """

    def __init__(self, classes: int, width: float) -> None:
        super().__init__()
        first, second, third, fourth = (scaled(size, width) for size in (64, 192, 384, 256))
        hidden = scaled(_HIDDEN, width)
        self.features = nn.Sequential(
            *_convolution(3, first, stride=2),
            _pooling(),
            *_convolution(first, second),
            _pooling(),
            *_convolution(second, third),
            *_convolution(third, fourth),
            *_convolution(fourth, fourth),
            _pooling(),
        )
        self.classifier = nn.Sequential(
            *_hidden(fourth * _LAST**2, hidden), *_hidden(hidden, hidden), nn.Linear(hidden, classes)
        )

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Logits, B x classes."""
        logits: Tensor = self.classifier(to_grid(self.features(x_BCHW), _LAST).flatten(1))
        return logits


def _convolution(inputs: int, outputs: int, stride: int = 1) -> list[nn.Module]:
    return [nn.Conv2d(inputs, outputs, 3, stride, padding=1), nn.ReLU(inplace=True)]


def _pooling() -> nn.MaxPool2d:
    return nn.MaxPool2d(
        2, ceil_mode=True
    )  # else the odd 7 × 7 of 28-pixel images would lose a row and a column


def _hidden(inputs: int, outputs: int) -> list[nn.Module]:
    return [nn.Dropout(_DROPOUT), nn.Linear(inputs, outputs), nn.ReLU(inplace=True)]


def alexnet(classes: int, width: float, _quant: QuantSpec) -> nn.Module:
    """AlexNet; width 1 has torchvision's channels and 4,096 hidden units."""
    return AlexNet(classes, width)
