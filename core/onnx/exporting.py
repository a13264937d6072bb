"""`export_onnx`: a network, quantized or not, as an ONNX file whose quantized layers hold integer codes."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from torch import Tensor, fx, nn, no_grad

from core.errors import BadInput
from core.onnx.folding import folds
from core.onnx.tracing import Shapes, traced
from core.onnx.writing import Writing
from core.quant import quantizer_faults

if TYPE_CHECKING:
    from core.onnx.libraries import onnx

NOTHING: Mapping[str, str] = MappingProxyType({})


def export_onnx(
    model: nn.Module,
    example: Tensor,
    *,
    provenance: Mapping[str, str] = NOTHING,
    fold_batchnorm: bool = False,
    snap_offsets: bool = False,
) -> bytes:
    """The network in eval mode as the bytes of an ONNX file; the same network gives the same bytes.

    Weights are stored as their integer codes, INT4 or UINT4 (two to a byte) up to 4 bits, else 8-bit, behind a
    DequantizeLinear; an input is QuantizeLinear → Clip → DequantizeLinear, a real-valued offset taken off before and
    added after. Values are named after the network's layers.

    Args:
        model: its quantizers are calibrated. It is not changed.
        example: a batch of normalised images; the file takes any number of images of that size.
        provenance: what the file says of itself, in `metadata_props`.
        fold_batchnorm: take normalisations into the channels' scales. Codes stay, sums round otherwise; a normalisation
            with a factor that is not positive stays as it is.
        snap_offsets: make offsets of activations whole numbers of steps, as integer hardware wants zero points. That is
            another network, which forgets otherwise; the file says `offsets: snapped`.

    Raises BadInput, one line, for a layer or function that cannot be written, for quantizers that are not set, and
    where onnx is not installed.
    """
    written = write(model, example, provenance, fold_batchnorm, snap_offsets)
    return written.model.SerializeToString(deterministic=True)


class Written(NamedTuple):
    """A network as ONNX, its operations, and the names of their values in it."""

    model: onnx.ModelProto
    operations: fx.GraphModule
    names: dict[fx.Node, str]


@no_grad()
def write(
    model: nn.Module,
    example: Tensor,
    provenance: Mapping[str, str] = NOTHING,
    fold_batchnorm: bool = False,
    snap_offsets: bool = False,
) -> Written:
    """`export_onnx` before it becomes bytes."""
    faults = quantizer_faults(model)
    if faults:
        name, why = next(iter(sorted(faults.items())))
        raise BadInput(f"export: quantizer '{name}' is {why}: calibrate or train the network first")
    modes = [(module, module.training) for module in model.modules()]
    try:
        return _written(model.eval(), example, provenance, fold_batchnorm, snap_offsets)
    finally:
        for module, training in modes:
            module.training = training


def _written(
    model: nn.Module, example: Tensor, provenance: Mapping[str, str], fold: bool, snap: bool
) -> Written:
    operations = traced(model)
    shapes = Shapes(operations)
    logits = shapes.run(example)
    writing = Writing(operations, shapes.of, folds(operations) if fold else {}, snap)
    facts = dict(provenance)
    if snap:
        facts["offsets"] = "snapped"
    if fold:
        facts["batchnorm"] = "folded"
    proto = writing.graph.model(tuple(example.shape), tuple(logits.shape), facts)
    return Written(proto, operations, writing.names)
