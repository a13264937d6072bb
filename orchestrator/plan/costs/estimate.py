"""How long a node will take: counted work at a measured pace, corrected by what this store has measured."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import cache
from statistics import median
from typing import Any

from core.data import DATASETS, DatasetInfo, dataset_info, scenario_kind
from core.models import model_info
from core.unlearn import METHODS, both_sets
from orchestrator.plan.costs.memory import MemoryModel
from orchestrator.plan.costs.paces import NetworkPace, Pace, image_work
from orchestrator.plan.expansion import expected
from orchestrator.spec import ORIGINAL, LimitSpec, base_name
from tasks import TRAINING, Node

_SHORT: dict[str, float] = {"data": 2.0, "select": 0.05, "audit": 10.0}  # seconds


def passes(method: str, params: Mapping[str, Any], forget: float, retain: float) -> float:
    """Passes over images of a whole run, each about a forward and a backward pass; an original's goes over all.

    What they take beside those of plain training is measured, see `NetworkPace.methods`.
    """
    counted = both_sets if method == ORIGINAL else METHODS[method].passes
    return counted(params, forget, retain)


class CostModel:
    """Expected seconds of nodes; `observe` scales the model to the machine at hand. memory: expected bytes.

    limit: of the grid's images, which evaluations do not name.
    """

    def __init__(self, pace: Pace, limit: LimitSpec | None = None) -> None:
        self.pace, self.limit = pace, limit.model_dump() if limit else None
        self.memory = MemoryModel()
        self._network_pace = cache(pace.network)
        self._ratios: list[float] = []
        self._glimpses: dict[str, float] = {}
        self._own: defaultdict[tuple[str, str], list[float]] = defaultdict(list)

    @property
    def factor(self) -> float:
        """Measured over expected seconds of training nodes: the median of what was observed; 1 before.

        Until a node has ended, what those at work have come to counts.
        """
        seen = self._ratios[-200:] or list(self._glimpses.values())
        return median(seen) if seen else 1.0

    def glimpse(self, node: Node, seconds: float) -> None:
        """Learns from a training node at work how long its epochs will take in all."""
        if node.kind in TRAINING and seconds > 0:
            self._glimpses[node.key] = seconds / self.work(node)

    def observe(self, node: Node, seconds: float) -> None:
        """Learns from a finished training node."""
        if node.kind in TRAINING:
            ratio = seconds / self.work(node)
            self._ratios.append(ratio)
            self._own[_own(node)].append(ratio)

    def total(self, nodes: Iterable[Node]) -> float:
        """Expected seconds of training nodes on one worker, one after the other, with those of searches to come."""
        return sum(self.seconds(n) for n in nodes if n.kind in TRAINING or n.kind == "search")

    def seconds(self, node: Node) -> float:
        """Expected seconds on one worker, by what was observed of the same method and network, else of any."""
        if node.kind not in TRAINING and node.kind != "search":
            return self.work(node)
        own = self._own.get(_own(node))
        return self.work(node) * (median(own[-50:]) if own else self.factor)

    def work(self, node: Node) -> float:
        """Expected seconds on one worker at the pace alone, before `factor`."""
        if node.kind == "search":
            whole, epochs = self._training(node), node.inputs["params"].get("epochs")
            beside = self._beside(node)
            return sum(
                parts * (whole * (each / epochs if epochs else 1) + beside) for parts, each in expected(node)
            )
        if node.kind in ("evaluate", "evaluate_export"):
            return self._evaluation(node)
        if node.kind not in TRAINING:
            return _SHORT[node.kind]
        return self._training(node) * _share(node) + self._beside(node)

    def _training(self, node: Node) -> float:
        """Of all epochs. Originals and Retrain are plain training: what they do once before does not count in 160."""
        i, pace = node.inputs, self._network(node)
        method, params = base_name(i["method"]), i["params"]
        images = passes(method, params, *_parts(node, _images(_info(node), i["limit"])[0]))
        beside_plain = pace.methods.get(method, 1.0) if node.kind in ("trial", "search") else 1.0
        return images * beside_plain * _per_image(node, params["batch_size"], pace)

    def _beside(self, node: Node) -> float:
        """Predicting every image, loading, packing and committing."""
        i, pace = node.inputs, self._network(node)
        predicted = sum(_images(_info(node), i["limit"])) * pace.prediction * _per_image(node, _AT_ONCE, pace)
        return predicted + pace.node * (i["width"] / model_info(i["arch"]).width) ** 2

    def _evaluation(self, node: Node) -> float:
        """The attack with test images, and again with validation images if there are any."""
        train, test = _images(_info(node), self.limit)
        _, retain = _parts(node, train)
        held = train * node.inputs["validation"]
        return sum(self.pace.attack.at(min(retain, outside)) for outside in (test, held) if outside)

    def _network(self, node: Node) -> NetworkPace:
        return self._network_pace(node.inputs["arch"], _info(node).pixels)


_AT_ONCE = 1000  # images of a prediction's batch, see `core.metrics.predictions.predict`


def _own(node: Node) -> tuple[str, str]:
    """Whose observations count: how long IU's equations take to solve depends on network and data by a tenfold."""
    return node.inputs["arch"], base_name(node.inputs["method"])


def _per_image(node: Node, batch: int, pace: NetworkPace) -> float:
    i, info = node.inputs, _info(node)
    return pace.seconds_per_image(image_work(i["arch"], i["width"], info.pixels, batch, info.classes))


def _share(node: Node) -> float:
    """The part (0-1) of a training that a node does itself."""
    epochs = node.inputs["params"].get("epochs")
    return (node.inputs.get("until", epochs) - node.head_start) / epochs if epochs else 1.0


def _info(node: Node) -> DatasetInfo:
    return _known(node.inputs["dataset"])


@cache
def _known(dataset: str) -> DatasetInfo:
    """A folder that nobody has read yet is taken to have CIFAR-10's images and classes."""
    info, guess = dataset_info(dataset), DATASETS["cifar10"]
    if info.classes:
        return info
    return replace(info, classes=guess.classes, train_size=guess.train_size, test_size=guess.test_size)


def _images(info: DatasetInfo, limit: Mapping[str, int | None] | None) -> tuple[int, int]:
    """Training and test images that a grid reads."""
    train, test = ((limit or {}).get(part) for part in ("train", "test"))
    return min(train or info.train_size, info.train_size), min(test or info.test_size, info.test_size)


def _parts(node: Node, train: int) -> tuple[float, float]:
    """Images to forget and to retain."""
    i = node.inputs
    pool = train * (1 - i["validation"])
    kind = scenario_kind(i["scenario"]) if "scenario" in i else "class"
    if kind == "list":
        forget = min(i["amount"], pool / 2)  # the pool of a folder that nobody has read is a guess
        return forget, pool - forget
    share = i["amount"] if kind == "random" else 1 / _info(node).classes
    return share * pool, (1 - share) * pool
