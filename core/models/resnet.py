"""ResNet-18 (He et al. 2016) for 32- and 64-pixel images, from torchvision's residual block."""

from torch import Tensor, nn

from core.models.released import ReleasedBlock
from core.models.shapes import scaled
from core.quant import QuantSpec

_SHORTCUTS = tuple(f"stages.{stage}.0.downsample.0" for stage in (1, 2, 3))


class SmallImageResNet(nn.Module):
    """Four stages of two blocks behind a 3x3, stride-1 stem without pooling.

    torchvision's own ResNet fixes 64 stem channels and the ImageNet stem; only its basic block is reused.
    The blocks of the published Q-MUL code take its place where the quantization asks for them.
    """

    def __init__(self, classes: int, width: float, released_blocks: bool) -> None:
        super().__init__()
        channels = [scaled(c, width) for c in (64, 128, 256, 512)]
        self.stem = nn.Sequential(
            nn.Conv2d(3, channels[0], 3, padding=1, bias=False),
            nn.BatchNorm2d(channels[0]),
            nn.ReLU(inplace=True),
        )
        inputs = [channels[0], *channels[:-1]]
        self.stages = nn.Sequential(
            *(
                _stage(i, o, stride, released_blocks)
                for i, o, stride in zip(inputs, channels, (1, 2, 2, 2), strict=True)
            )
        )
        self.classifier = nn.Linear(channels[-1], classes)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Logits, B x classes."""
        # mean() instead of adaptive pooling: same value, deterministic backward on CUDA
        return self.classifier(self.stages(self.stem(x_BCHW)).mean((2, 3)))


def _stage(inputs: int, outputs: int, stride: int, released: bool) -> nn.Sequential:
    from torchvision.models.resnet import BasicBlock  # seconds of import that planning need not wait for

    block = ReleasedBlock if released else BasicBlock
    shortcut = None
    if stride != 1 or inputs != outputs:
        shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
    return nn.Sequential(block(inputs, outputs, stride, shortcut), block(outputs, outputs, 1))


def resnet18(classes: int, width: float, quant: QuantSpec) -> nn.Module:
    """ResNet-18; width 1 is the usual network (11.2 M parameters for 10 classes)."""
    return SmallImageResNet(classes, width, quant.quantizes and quant.blocks == "released")


def resnet18_full_precision(quant: QuantSpec) -> tuple[str, ...]:
    """The 1x1 convolutions of the shortcuts, if these are not to be quantized."""
    return _SHORTCUTS if quant.shortcuts == "full_precision" else ()
