"""A network's operations in order, as torch.fx sees them, with shapes and checks from one run on an example."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, fx, nn

from core.errors import BadInput
from core.models import to_grid
from core.onnx.modules import writer_of
from core.quant import FakeQuantizer, QuantConv2d, QuantLinear


class _Tracer(fx.Tracer):
    """Stops at layers that are written as a whole; remembers where it is."""

    def __init__(self) -> None:
        super().__init__(autowrap_functions=(to_grid,))
        self.place = "the network"

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Whether the module is written as it is, not what it calls."""
        return writer_of(m) is not None or super().is_leaf_module(m, module_qualified_name)

    def call_module(
        self, m: nn.Module, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Notes the module, for the error that may follow."""
        self.place = f"layer '{self.path_of_module(m)}' ({type(m).__name__})"
        return super().call_module(m, forward, args, kwargs)


def traced(model: nn.Module) -> fx.GraphModule:
    """The model's operations; it shares its layers. Raises BadInput where what is done depends on values or shapes."""
    tracer = _Tracer()
    try:
        return fx.GraphModule(model, tracer.trace(model))
    except Exception as error:  # of many kinds: whatever the forward pass does to a placeholder
        line = str(error).strip().partition("\n")[0]
        raise BadInput(
            f"export: at {tracer.place} the computation depends on values or shapes, which a fixed graph cannot say"
            f" ({line:.120}): choose a network without, such as archs=resnet18"
        ) from error


class Shapes(fx.Interpreter):
    """Runs the operations on an example; keeps every tensor's shape, and refuses quantizers without a uniform grid."""

    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__(module)
        self.extra_traceback = False  # an error stays the one line that it is
        self.of: dict[fx.Node, tuple[int, ...]] = {}

    def run_node(self, n: fx.Node) -> Any:
        """One operation."""
        result = super().run_node(n)
        if isinstance(result, Tensor):
            self.of[n] = tuple(result.shape)
        return result

    def call_module(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """One layer."""
        layer = self.fetch_attr(target)
        if isinstance(layer, QuantConv2d | QuantLinear):
            for quantizer, x in ((layer.input_quantizer, args[0]), (layer.weight_quantizer, layer.weight)):
                if isinstance(quantizer, FakeQuantizer):
                    _check_grid(f"layer '{target}'", quantizer, x, affine=x is args[0])
        return super().call_module(target, args, kwargs)


def _check_grid(where: str, quantizer: FakeQuantizer, x: Tensor, affine: bool) -> None:
    """Raises BadInput unless values are code · step + offset.

    affine: and codes round((x - offset) / step), clipped, as those of an input must be.
    """
    codes, step = quantizer.codes(x), quantizer.grid()[0]
    even = bool(((quantizer.decode(codes) - quantizer(x)).abs() <= step.to(x.device) * 1e-3).all())
    plain = not affine or bool((FakeQuantizer.codes(quantizer, x) == codes).all())
    if not (even and plain):
        raise BadInput(
            f"export: {where} has a quantizer ({type(quantizer).__name__}) that is no evenly spaced grid, and ONNX has"
            " no other: set quantizers to one of lsq_plus, lsq, pact or dsq"
        )
