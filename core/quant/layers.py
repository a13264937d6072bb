"""Convolution and linear layers that fake-quantize their weight and their input, or compute on their codes."""

from torch import Tensor, nn
from torch.nn import functional as F

from core.quant.on_codes import by_integers

Quantizer = nn.Module  # a FakeQuantizer, or nn.Identity for full precision


class QuantConv2d(nn.Conv2d):
    """A convolution on quantized weights and quantized input."""

    weight_quantizer: Quantizer
    input_quantizer: Quantizer

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Convolution of the quantized input with the quantized weight."""
        found = by_integers(self, self.weight_quantizer, self.input_quantizer, x_BCHW)
        if found is not None:
            return found
        return self._conv_forward(self.input_quantizer(x_BCHW), self.weight_quantizer(self.weight), self.bias)


class QuantLinear(nn.Linear):
    """A linear layer on quantized weights and quantized input."""

    weight_quantizer: Quantizer
    input_quantizer: Quantizer

    def forward(self, x_BD: Tensor) -> Tensor:
        """Product of the quantized input with the quantized weight."""
        found = by_integers(self, self.weight_quantizer, self.input_quantizer, x_BD)
        if found is not None:
            return found
        return F.linear(self.input_quantizer(x_BD), self.weight_quantizer(self.weight), self.bias)


QuantLayer = QuantConv2d | QuantLinear


def quantized_copy(layer: nn.Conv2d | nn.Linear, weight: Quantizer, activation: Quantizer) -> QuantLayer:
    """A quantized layer that shares the given layer's weight and bias tensors."""
    new: QuantLayer
    bias = layer.bias is not None
    if isinstance(layer, nn.Conv2d):
        new = QuantConv2d(
            layer.in_channels,
            layer.out_channels,
            layer.kernel_size,  # type: ignore[arg-type]
            layer.stride,  # type: ignore[arg-type]
            layer.padding,  # type: ignore[arg-type]
            layer.dilation,  # type: ignore[arg-type]
            layer.groups,
            bias,
            device="meta",
        )
    else:
        new = QuantLinear(layer.in_features, layer.out_features, bias, device="meta")
    new.weight, new.bias = layer.weight, layer.bias
    new.weight_quantizer, new.input_quantizer = weight, activation
    return new
