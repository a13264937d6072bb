"""How much of an accelerator's memory a node will need: what others of its class were measured to reserve."""

import json
import math

from tasks import TRAINING, Node

_WITHOUT = frozenset(
    {
        "amount",
        "epochs",
        "listed",
        "method_revision",
        "params",
        "scenario",
        "seed",
        "shadow",
        "split_seed",
        "tried",
        "until",
    }
)


def memory_class(node: Node) -> str:
    """What decides a node's memory: its kind and inputs without seed, forget set, epochs and real numbers.

    Batch size and options stay: an option may choose another path through the code. Images of the whole pool
    lie on the device whatever is forgotten, and a learning rate weighs nothing.
    """
    values = {**node.inputs, **(node.inputs.get("params") or {})}
    kept = {
        k: v for k, v in values.items() if k not in _WITHOUT and (k == "width" or not isinstance(v, float))
    }
    return json.dumps([node.kind, kept], sort_keys=True)


class MemoryModel:
    """Expected peaks, in bytes. A class that once did not fit where it was expected to is not expected to again."""

    def __init__(self) -> None:
        self._peaks: dict[str, float] = {}
        self._classes: dict[str, str] = {}

    def observe(self, node: Node, peak: int | None) -> None:
        """Learns from a finished training node; None, as on a CPU, says nothing."""
        if node.kind in TRAINING and peak is not None:
            kind = self._class(node)
            self._peaks[kind] = max(self._peaks.get(kind, 0.0), peak)

    def overflowed(self, node: Node) -> None:
        """The node ran out of memory beside others: its class gets a GPU to itself from now on."""
        self._peaks[self._class(node)] = math.inf

    def expected(self, node: Node) -> float:
        """The largest peak measured in the node's class; inf if there is none."""
        return self._peaks.get(self._class(node), math.inf) if self._peaks else math.inf

    def _class(self, node: Node) -> str:
        if node.key not in self._classes:
            self._classes[node.key] = memory_class(node)
        return self._classes[node.key]
