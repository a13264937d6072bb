"""An ONNX graph that is being written: its nodes and constants, and the place in the network that each is for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from torch import Tensor

from core.errors import BadInput
from core.onnx.libraries import onnx

if TYPE_CHECKING:
    from core.onnx.folding import Fold

OPSET, IR_VERSION = 21, 10  # the first with 4-bit integers in QuantizeLinear and DequantizeLinear
IMAGES, LOGITS, BATCH = "images", "logits", "N"


class Value(NamedTuple):
    """A tensor of the graph: its name, and its shape for the example."""

    name: str
    shape: tuple[int, ...]


class Graph:
    """Nodes in order, and constants by name."""

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._constants: dict[str, onnx.TensorProto] = {}

    def op(self, kind: str, inputs: tuple[str, ...], output: str, attributes: Mapping[str, Any]) -> str:
        """Adds a node of one output; returns the output's name."""
        self._nodes.append(onnx.helper.make_node(kind, list(inputs), [output], output, **attributes))
        return output

    def constant(self, name: str, values: Tensor | float | list[int], kind: str) -> str:
        """Adds a constant; integers of 4 bits are packed two to a byte. kind: such as FLOAT, INT4. Returns its name."""
        dtype = onnx.helper.tensor_dtype_to_np_dtype(onnx.TensorProto.DataType.Value(kind))
        array = values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)
        self._constants[name] = onnx.numpy_helper.from_array(np.ascontiguousarray(array).astype(dtype), name)
        return name

    def model(
        self, example_shape: tuple[int, ...], logits_shape: tuple[int, ...], facts: Mapping[str, str]
    ) -> onnx.ModelProto:
        """The checked model: images to logits, any number of them at a time. facts: its metadata."""
        tensor, real = onnx.helper.make_tensor_value_info, onnx.TensorProto.FLOAT
        graph = onnx.helper.make_graph(
            self._nodes,
            "network",
            [tensor(IMAGES, real, [BATCH, *example_shape[1:]])],
            [tensor(LOGITS, real, [BATCH, *logits_shape[1:]])],
            list(self._constants.values()),
        )
        model = onnx.helper.make_model(
            graph,
            producer_name="unlearn-grid",
            ir_version=IR_VERSION,
            opset_imports=[onnx.helper.make_opsetid("", OPSET)],
        )
        onnx.helper.set_model_props(model, dict(sorted(facts.items())))
        onnx.checker.check_model(model, full_check=True)
        return model


@dataclass(frozen=True)
class Site:
    """Where in the graph something is written: names begin with that of its value.

    what: the layer or function in words, for errors. snap: whether offsets of activations become whole numbers of
    steps. fold: the normalisation behind a layer that its weights take in.
    """

    graph: Graph
    name: str
    what: str
    snap: bool = False
    fold: Fold | None = field(default=None, compare=False)

    def within(self, part: str) -> Site:
        """A part of this place."""
        return replace(self, name=f"{self.name}.{part}")

    def op(self, kind: str, *inputs: str, part: str = "", **attributes: Any) -> str:
        """Adds a node; returns the name of its value, which is the place's own or that of a part."""
        return self.graph.op(kind, inputs, f"{self.name}.{part}" if part else self.name, attributes)

    def constant(self, part: str, values: Tensor | float | list[int], kind: str = "FLOAT") -> str:
        """Adds a constant named after the place; returns its name."""
        return self.graph.constant(f"{self.name}.{part}", values, kind)

    def refused(self, why: str) -> BadInput:
        """The error, one line, for something that cannot be written."""
        return BadInput(f"export: {self.what} {why}")
