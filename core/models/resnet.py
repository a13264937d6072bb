"""ResNet-18 (He et al. 2016) for 32- and 64-pixel images, from torchvision's residual block."""

from torch import Tensor, nn


class SmallImageResNet(nn.Module):
    """Four stages of two basic blocks behind a 3x3, stride-1 stem without pooling.

    torchvision's own ResNet fixes 64 stem channels and the ImageNet stem; only its block is reused.
    """

    def __init__(self, classes: int, width: float) -> None:
        super().__init__()
        channels = [max(8, round(c * width)) for c in (64, 128, 256, 512)]
        self.stem = nn.Sequential(
            nn.Conv2d(3, channels[0], 3, padding=1, bias=False),
            nn.BatchNorm2d(channels[0]),
            nn.ReLU(inplace=True),
        )
        inputs = [channels[0], *channels[:-1]]
        self.stages = nn.Sequential(
            *(_stage(i, o, stride) for i, o, stride in zip(inputs, channels, (1, 2, 2, 2), strict=True))
        )
        self.classifier = nn.Linear(channels[-1], classes)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Logits, B x classes."""
        # mean() instead of adaptive pooling: same value, deterministic backward on CUDA
        return self.classifier(self.stages(self.stem(x_BCHW)).mean((2, 3)))


def _stage(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    from torchvision.models.resnet import BasicBlock  # seconds of import that planning need not wait for

    shortcut = None
    if stride != 1 or inputs != outputs:
        shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
    return nn.Sequential(BasicBlock(inputs, outputs, stride, shortcut), BasicBlock(outputs, outputs))


def resnet18(classes: int, width: float) -> nn.Module:
    """ResNet-18; width 1 is the usual network (11.2 M parameters for 10 classes)."""
    return SmallImageResNet(classes, width)
