"""The quantization schemes by name, and which bits each of them takes."""

from collections.abc import Callable
from dataclasses import dataclass

from core.quant.base import FakeQuantizer, Shape
from core.quant.dsq import DSQActivation, DSQWeight
from core.quant.lsq import LSQActivation, LSQWeight
from core.quant.lsq_plus import LSQPlusActivation, LSQPlusWeight
from core.quant.lsq_released import ReleasedLSQActivation
from core.quant.pact import DoReFaWeight, PACTActivation


@dataclass(frozen=True)
class QuantizerPair:
    """What one quantization scheme puts on weights and on activations.

    title: in tables.
    weight: from bits and the step's shape: () for the tensor, (C_out, 1, ...) per output channel.
    activation: from bits.
    bits: what both of them take.
    linear: what weights of linear layers get instead, if anything else.
    quantizes_images: False for a scheme without negative values, whose network reads its normalised
    images in full precision.
    """

    title: str
    weight: Callable[[int, Shape], FakeQuantizer]
    activation: Callable[[int], FakeQuantizer]
    bits: range = range(2, 9)
    linear: Callable[[int, Shape], FakeQuantizer] | None = None
    quantizes_images: bool = True


QUANTIZERS: dict[str, QuantizerPair] = {
    "lsq_plus": QuantizerPair("LSQ+", LSQPlusWeight, LSQPlusActivation),
    "lsq": QuantizerPair("LSQ", LSQWeight, LSQActivation),
    "lsq_released": QuantizerPair("LSQ as published", LSQWeight, ReleasedLSQActivation),
    "pact": QuantizerPair("PACT", DoReFaWeight, PACTActivation, linear=LSQWeight, quantizes_images=False),
    "dsq": QuantizerPair("DSQ", DSQWeight, DSQActivation),
}
