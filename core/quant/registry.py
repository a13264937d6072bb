"""The quantization schemes by name, and which bits each of them takes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from core.lazy import Lazy
from core.registry import Registry

if TYPE_CHECKING:
    from core.quant.base import FakeQuantizer, Shape


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


_LSQ_WEIGHT = Lazy("core.quant.lsq:LSQWeight")

_HERE: dict[str, QuantizerPair] = {
    "lsq_plus": QuantizerPair(
        "LSQ+", Lazy("core.quant.lsq_plus:LSQPlusWeight"), Lazy("core.quant.lsq_plus:LSQPlusActivation")
    ),
    "lsq": QuantizerPair("LSQ", _LSQ_WEIGHT, Lazy("core.quant.lsq:LSQActivation")),
    "lsq_released": QuantizerPair(
        "LSQ as published", _LSQ_WEIGHT, Lazy("core.quant.lsq_released:ReleasedLSQActivation")
    ),
    "pact": QuantizerPair(
        "PACT",
        Lazy("core.quant.pact:DoReFaWeight"),
        Lazy("core.quant.pact:PACTActivation"),
        linear=_LSQ_WEIGHT,
        quantizes_images=False,
    ),
    "dsq": QuantizerPair("DSQ", Lazy("core.quant.dsq:DSQWeight"), Lazy("core.quant.dsq:DSQActivation")),
}

QUANTIZERS = Registry("quantizer", QuantizerPair, "unlearn_grid.quantizers", _HERE)
