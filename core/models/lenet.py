"""LeNet-5 (LeCun et al. 1998) as it is used today: ReLU, max pooling, a linear output layer."""

from torch import Tensor, nn

from core.models.shapes import scaled, to_grid
from core.quant import QuantSpec

_PIXELS, _LAST = 28, 5  # side of the images, and of the feature maps behind the convolutions


class LeNet(nn.Module):
    """Two 5x5 convolutions with pooling and three linear layers, on three channels.

    It reads 28 × 28 pixels, its first convolution pads them to 32 × 32; images of another size are averaged (or
    repeated) to that.
    """

    def __init__(self, classes: int, width: float) -> None:
        super().__init__()
        first, second, third, fourth = (scaled(size, width) for size in (6, 16, 120, 84))
        self.features = nn.Sequential(
            nn.Conv2d(3, first, 5, padding=2),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
            nn.Conv2d(first, second, 5),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
        )
        self.classifier = nn.Sequential(
            nn.Linear(second * _LAST**2, third),
            nn.ReLU(inplace=True),
            nn.Linear(third, fourth),
            nn.ReLU(inplace=True),
            nn.Linear(fourth, classes),
        )

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Logits, B x classes."""
        logits: Tensor = self.classifier(self.features(to_grid(x_BCHW, _PIXELS)).flatten(1))
        return logits


def lenet(classes: int, width: float, _quant: QuantSpec) -> nn.Module:
    """LeNet-5; width 1 is the usual network (62,006 parameters for 10 classes and three channels)."""
    return LeNet(classes, width)
