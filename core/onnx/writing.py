"""A traced network's operations written one after the other, each by its layer's or function's writer."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from torch import fx, nn

from core.errors import BadInput
from core.onnx import functions
from core.onnx.folding import Fold
from core.onnx.graph import IMAGES, LOGITS, Graph, Site, Value
from core.onnx.modules import writer_of


class Writing:
    """Writes the operations one after the other. names: of their values in the graph."""

    def __init__(
        self,
        operations: fx.GraphModule,
        shapes: Mapping[fx.Node, tuple[int, ...]],
        folded: Mapping[fx.Node, Fold],
        snap: bool,
    ) -> None:
        self.graph, self.names = Graph(), dict[fx.Node, str]()
        self._operations, self._shapes, self._folded, self._snap = operations, shapes, folded, snap
        self._taken = {IMAGES, LOGITS}
        self._now: dict[
            fx.Node, str
        ] = {}  # differs from `names` once something has worked in place on a value
        for node in operations.graph.nodes:
            self.names[node] = self._now[node] = _WRITE[node.op](self, node)
            if _in_place(operations, node):
                self._now[node.args[0]] = self.names[node]

    def images(self, _node: fx.Node) -> str:
        """The graph's input."""
        if IMAGES in self.names.values():
            raise BadInput(
                "export: the network takes more than one input; export one that takes images alone"
            )
        return IMAGES

    def logits(self, node: fx.Node) -> str:
        """The graph's output."""
        (result,) = node.args
        if not isinstance(result, fx.Node):
            raise BadInput(
                "export: the network returns more than logits; export one that returns logits alone"
            )
        return self.graph.op("Identity", (self._now[result],), LOGITS, {})

    def tensor(self, node: fx.Node) -> str:
        """A parameter or buffer that the network reads itself."""
        owner, _, name = str(node.target).rpartition(".")
        value = getattr(self._operations.get_submodule(owner), name)
        return self._site(node, str(node.target), f"tensor '{node.target}'").constant("values", value)

    def layer(self, node: fx.Node) -> str:
        """What a layer does."""
        layer = self._operations.get_submodule(str(node.target))
        site = self._site(node, str(node.target), f"layer '{node.target}' ({type(layer).__name__})")
        write = writer_of(layer)
        if write is None:
            raise site.refused("has no ONNX form here: choose a network without it, such as archs=resnet18")
        if isinstance(layer, nn.BatchNorm2d) and node.args[0] in self._folded:
            return self._now[node.args[0]]  # type: ignore[index]
        return write(site, layer, *self._values(node.args))

    def function(self, node: fx.Node) -> str:
        """What a function, or a tensor's method, does."""
        target = node.target
        called = target if isinstance(target, str) else fx.node._get_qualified_name(target)
        site = self._site(node, node.name, f"{called}{_inside(node)}")
        if called not in functions.WRITERS:
            raise site.refused("has no ONNX form here: choose a network without it, such as archs=resnet18")
        write, given = functions.WRITERS[called], self._values(node.args)
        more = {name: self._values(value) for name, value in node.kwargs.items() if name != "inplace"}
        try:
            inspect.signature(write).bind(site, *given, **more)
        except TypeError as error:
            raise site.refused(f"is called in a way that has no ONNX form here ({error})") from error
        return write(site, *given, **more)

    def _values(self, arguments: Any) -> Any:
        return fx.map_arg(arguments, lambda node: Value(self._now[node], self._shapes[node]))

    def _site(self, node: fx.Node, name: str, what: str) -> Site:
        """The place of an operation; the second use of a layer gets a name of its own."""
        own, uses = name, 1
        while own in self._taken:
            uses += 1
            own = f"{name}:{uses}"
        self._taken.add(own)
        return Site(self.graph, own, what, self._snap, self._folded.get(node))


def _in_place(operations: fx.GraphModule, node: fx.Node) -> bool:
    """Whether an operation leaves its result in its first argument as well, which later ones then read."""
    if node.op == "call_module":
        return bool(getattr(operations.get_submodule(str(node.target)), "inplace", False))
    name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")
    return node.op.startswith("call") and (
        bool(node.kwargs.get("inplace")) or name.endswith("_") or name in ("iadd", "isub", "imul")
    )


def _inside(node: fx.Node) -> str:
    """` in layer 'stages.0'`, as far as it is known which."""
    stack = list(node.meta.get("nn_module_stack", {}).values())
    return f" in layer '{stack[-1][0]}'" if stack and stack[-1][0] else ""


_WRITE: dict[str, Callable[[Writing, fx.Node], str]] = {
    "placeholder": Writing.images,
    "output": Writing.logits,
    "get_attr": Writing.tensor,
    "call_module": Writing.layer,
    "call_function": Writing.function,
    "call_method": Writing.function,
}
