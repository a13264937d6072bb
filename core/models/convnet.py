"""The small ConvNet of dataset condensation (Zhao et al. 2021), after Gidaris and Komodakis 2018."""

from torch import Tensor, nn

from core.models.shapes import scaled, to_grid
from core.quant import QuantSpec

_CHANNELS, _BLOCKS, _LAST = 128, 3, 4  # of every block; side of the feature maps behind them


class ConvNet(nn.Module):
    """Three blocks of 3x3 convolution, normalisation, ReLU and 2x2 average pooling, then one linear layer.

    The normalisation is over the batch, where that work takes it over each image: the quantizers' calibration and
    the methods here know batch statistics. The linear layer reads 4 × 4 cells, what 32-pixel images come to.
    """

    def __init__(self, classes: int, width: float) -> None:
        super().__init__()
        channels = scaled(_CHANNELS, width)
        inputs = [3, *[channels] * (_BLOCKS - 1)]
        self.features = nn.Sequential(*(_block(count, channels) for count in inputs))
        self.classifier = nn.Linear(channels * _LAST**2, classes)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Logits, B x classes."""
        logits: Tensor = self.classifier(to_grid(self.features(x_BCHW), _LAST).flatten(1))
        return logits


def _block(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
        nn.AvgPool2d(2),
    )


def convnet(classes: int, width: float, _quant: QuantSpec) -> nn.Module:
    """The ConvNet; width 1 is the usual network (320,010 parameters for 10 classes)."""
    return ConvNet(classes, width)
