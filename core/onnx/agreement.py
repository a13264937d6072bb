"""Whether an exported file computes what the network does, operation by operation and from the same inputs.

Over a whole network two runtimes never agree to the last bit: float sums between the convolutions round otherwise,
and a value that lies on the edge between two codes then falls to the other side. So each operation gets what
onnxruntime had as its input, and its codes and sums are compared alone.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from torch import Tensor, from_numpy, fx, nn, no_grad

from core.onnx.exporting import write
from core.onnx.graph import IMAGES
from core.onnx.libraries import onnx
from core.onnx.session import session
from core.quant import FakeQuantizer, QuantConv2d, QuantLinear


class Agreement(NamedTuple):
    """One operation: its name, how many codes of its input differ of how many, and its output's largest error.

    error: relative to the largest magnitude of the output.
    """

    name: str
    differing: int
    codes: int
    error: float


@no_grad()
def layer_by_layer(model: nn.Module, exported: bytes, images: Tensor) -> list[Agreement]:
    """Every operation of the network beside the same one in its file, which was written without fold and snap."""
    written = write(model, images)
    comparison = _Comparison(written.operations, written.names, _all_values(exported, images))
    modes = [(module, module.training) for module in model.modules()]
    try:
        model.eval()
        comparison.run(images)
    finally:
        for module, training in modes:
            module.training = training
    return comparison.found


def _all_values(exported: bytes, images: Tensor) -> dict[str, Tensor]:
    """What every node of the file gives, with nothing fused."""
    proto = onnx.load_from_string(exported)
    names = [name for node in proto.graph.node for name in node.output]
    del proto.graph.output[:]
    proto.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in names)
    run = session(proto.SerializeToString(), 1, optimised=False)
    values = run.run(names, {IMAGES: images.contiguous().numpy()})
    return {IMAGES: images} | {name: from_numpy(value) for name, value in zip(names, values, strict=True)}


class _Comparison(fx.Interpreter):
    """Runs the network with the file's values in the place of its own after each operation."""

    def __init__(
        self, operations: fx.GraphModule, names: dict[fx.Node, str], values: dict[str, Tensor]
    ) -> None:
        super().__init__(operations)
        self.found: list[Agreement] = []
        self._names, self._values = names, values

    def run_node(self, n: fx.Node) -> Any:
        """One operation; the file's value where it has one."""
        differing, codes = self._codes(n)
        ours, theirs = super().run_node(n), self._values.get(self._names[n])
        if theirs is None or n.op in ("placeholder", "output"):
            return ours
        error = float((ours - theirs).abs().max() / ours.abs().max().clamp(min=1e-30))
        self.found.append(Agreement(self._names[n], differing, codes, error))
        return theirs.clone()  # what works in place must not reach the values of others

    def _codes(self, node: fx.Node) -> tuple[int, int]:
        """How many codes of a layer's input differ, and how many there are."""
        layer = self.fetch_attr(str(node.target)) if node.op == "call_module" else None
        quantizer = layer.input_quantizer if isinstance(layer, QuantConv2d | QuantLinear) else None
        if not isinstance(quantizer, FakeQuantizer):
            return 0, 0
        ours = quantizer.codes(self.fetch_args_kwargs_from_env(node)[0][0])
        return int((ours != self._values[f"{self._names[node]}.input.codes"]).sum()), ours.numel()
