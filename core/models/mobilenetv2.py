"""MobileNetV2 (Sandler et al. 2018) for 32- and 64-pixel images: torchvision's network, gentler strides."""

from torch import nn

from core.quant import QuantSpec

# expansion, channels, repeats, stride: stage strides 1,1,2,2,1,2,1 as in the published Q-MUL network
_STAGES = [
    [1, 16, 1, 1],
    [6, 24, 2, 1],
    [6, 32, 3, 2],
    [6, 64, 4, 2],
    [6, 96, 3, 1],
    [6, 160, 3, 2],
    [6, 320, 1, 1],
]


_LAST_CONVOLUTION = f"features.{1 + sum(repeats for _, _, repeats, _ in _STAGES)}.0"


def mobilenetv2(classes: int, width: float, _quant: QuantSpec) -> nn.Module:
    """MobileNetV2 with a stride-1 stem and dropout 0.2; the paper's network is width 0.5."""
    from torchvision.models import MobileNetV2  # seconds of import that planning need not wait for

    model = MobileNetV2(classes, width_mult=width, inverted_residual_setting=_STAGES, dropout=0.2)
    model.features[0][0].stride = (1, 1)
    return model


def mobilenetv2_full_precision(quant: QuantSpec) -> tuple[str, ...]:
    """The last 1x1 convolution with released blocks: the published code quantizes inside blocks alone."""
    return (_LAST_CONVOLUTION,) if quant.blocks == "released" else ()
