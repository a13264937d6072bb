"""Fake quantization: `QUANTIZERS`, `quantize_`, which puts them into a network, and what keeps them valid.

A quantizer is one file with its function and an entry of `QUANTIZERS`. Knows nothing of networks, data or training.
"""

from typing import TYPE_CHECKING

from core.door import door

if TYPE_CHECKING:
    from core.quant import lsq_plus as lsq_plus
    from core.quant.agreement import (
        IntegerForward as IntegerForward,
        integer_forward as integer_forward,
        integer_share as integer_share,
        integers_right as integers_right,
    )
    from core.quant.base import (
        FakeQuantizer as FakeQuantizer,
        keep_valid_ as keep_valid_,
        quantizer_faults as quantizer_faults,
        quantizer_parameters as quantizer_parameters,
        quantizers as quantizers,
    )
    from core.quant.export import (
        flip_rate as flip_rate,
        step_drift as step_drift,
        weight_codes as weight_codes,
    )
    from core.quant.guard import StepGuard as StepGuard
    from core.quant.layers import QuantConv2d as QuantConv2d, QuantLinear as QuantLinear
    from core.quant.network import (
        calibrate_ as calibrate_,
        quantize_ as quantize_,
        restart_weight_quantizers_ as restart_weight_quantizers_,
    )
    from core.quant.registry import QUANTIZERS as QUANTIZERS, QuantizerPair as QuantizerPair
    from core.quant.spec import QuantSpec as QuantSpec
else:
    __getattr__, __dir__, __all__ = door(__name__, __file__)
