"""How long a node will take: counted work over an assumed pace, corrected by what this store has measured."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any

from core.data import DATASETS
from core.models import MODELS
from orchestrator.memory import MemoryModel
from orchestrator.searches import expected
from orchestrator.variants import base_name
from tasks.node import TRAINING, Node

# Passes over images, in units of one forward and backward pass, of a method with its hyper-parameters.
Work = Callable[[Mapping[str, Any], float, float], float]
_WORK: dict[str, Work] = {
    "original": lambda p, forget, retain: p["epochs"] * (forget + retain),
    "retrain": lambda p, _forget, retain: p["epochs"] * retain,
    "ft": lambda p, _forget, retain: p["epochs"] * retain,
    "ga": lambda p, forget, _retain: p["epochs"] * forget,
    "iu": lambda p, forget, retain: forget + retain + 15 * min(p["fisher_samples"], retain),
    "l1_sparse": lambda p, _forget, retain: p["epochs"] * retain,
    "salun": lambda p, forget, retain: forget + p["epochs"] * (forget + retain),
    "qmul": lambda p, forget, retain: forget / 3 + 2 * p["epochs"] * (forget + retain),
    "qmul_no_sl": lambda p, forget, retain: 2 * p["epochs"] * (forget + retain),
    "qmul_no_agr": lambda p, forget, retain: forget / 3 + p["epochs"] * (forget + retain),
}


@dataclass(frozen=True)
class Pace:
    """A training worker's speed: multiply-accumulates of a forward pass per second, and seconds lost per image.

    words says where the numbers come from.
    """

    macs_per_second: float
    seconds_per_image: float
    words: str


# 160 epochs × 40,500 images in 22.05 minutes (paper, appendix E), 555 million multiply-accumulates each
GPU = Pace(2.7e12, 1e-5, "at the pace of the paper's RTX 4090")
CPU = Pace(2.5e10, 3e-4, "on one core of a server CPU")


class CostModel:
    """Expected seconds of nodes; `observe` scales the model to the machine at hand. memory: expected bytes."""

    def __init__(self, pace: Pace) -> None:
        self.pace = pace
        self.memory = MemoryModel()
        self._ratios: list[float] = []

    @property
    def factor(self) -> float:
        """Measured over expected seconds, the median of what was observed; 1 before."""
        return median(self._ratios[-200:]) if self._ratios else 1.0

    def observe(self, node: Node, seconds: float) -> None:
        """Learns from a finished training node."""
        if node.kind in TRAINING:
            self._ratios.append(seconds / self.work(node))

    def total(self, nodes: Iterable[Node]) -> float:
        """Expected seconds of training nodes on one worker, one after the other, with those of searches to come."""
        return self.factor * sum(self.work(n) for n in nodes if n.kind in TRAINING or n.kind == "search")

    def work(self, node: Node) -> float:
        """Expected seconds on one worker at the assumed pace, before `factor`."""
        if node.kind == "search":
            whole, epochs = self._seconds(node), node.inputs["params"].get("epochs")
            return sum(
                parts * (whole * (each / epochs if epochs else 1) + 0.5) for parts, each in expected(node)
            )
        return self._seconds(node) * _share(node) + 0.5 if node.kind in TRAINING else 2.0

    def _seconds(self, node: Node) -> float:
        """Of a whole training."""
        return _passes(node) * (_macs(node) / self.pace.macs_per_second + self.pace.seconds_per_image)


def _share(node: Node) -> float:
    """The part (0-1) of a training that a node does itself."""
    epochs = node.inputs["params"].get("epochs")
    return (node.inputs.get("until", epochs) - node.head_start) / epochs if epochs else 1.0


def _passes(node: Node) -> float:
    i = node.inputs
    limit = (i["limit"] or {}).get("train") or DATASETS[i["dataset"]].train_size
    pool = min(limit, DATASETS[i["dataset"]].train_size) * (1 - i["validation"])
    share = i["amount"] if i.get("scenario") == "random" else 1 / DATASETS[i["dataset"]].classes
    # a method without an entry is taken for a full one
    work = _WORK.get(base_name(i["method"]), _WORK["salun"])
    return work(i["params"], share * pool, (1 - share) * pool)


def _macs(node: Node) -> float:
    """Multiply-accumulates of a forward pass: the square of width and of image size."""
    i, info = node.inputs, MODELS[node.inputs["arch"]]
    scale = (i["width"] / info.width) ** 2 * (DATASETS[i["dataset"]].pixels / 32) ** 2
    return info.megamacs * 1e6 * scale
