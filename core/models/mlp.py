"""A multilayer perceptron for small images: the 2NN of McMahan et al. 2017, two hidden layers of 200 ReLU units."""

from torch import Tensor, nn

from core.models.shapes import scaled, to_grid
from core.quant import QuantSpec

_PIXELS, _HIDDEN = 28, 200


class MLP(nn.Module):
    """Reads images as 28 × 28 pixels of three channels; those of another size are averaged (or repeated) to that."""

    def __init__(self, classes: int, width: float) -> None:
        super().__init__()
        hidden = scaled(_HIDDEN, width)
        self.layers = nn.Sequential(
            nn.Linear(3 * _PIXELS**2, hidden),
            nn.ReLU(inplace=True),
            nn.Linear(hidden, hidden),
            nn.ReLU(inplace=True),
        )
        self.classifier = nn.Linear(hidden, classes)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Logits, B x classes."""
        logits: Tensor = self.classifier(self.layers(to_grid(x_BCHW, _PIXELS).flatten(1)))
        return logits


def mlp(classes: int, width: float, _quant: QuantSpec) -> nn.Module:
    """The MLP; width 1 has 200 units in either hidden layer."""
    return MLP(classes, width)
