"""What running nodes say of themselves, for the driver and for people: how far, how long still, what is stuck."""

import time
from collections.abc import Collection, Mapping

from orchestrator.plan.costs import CostModel
from orchestrator.spec import titles
from tasks import Node
from tasks.store import SILENT, Running, Store, beat, read_running

RunningNodes = Mapping[str, Running]  # by node
_NEWS_EVERY, _NEWS = 10.0, 20  # seconds between two rounds to the tracker, and nodes in one


class Watch:
    """Looks at the words of running nodes every few seconds, and tells the costs what they promise.

    every: epochs between two states that a training leaves to go on from.
    """

    def __init__(self, store: Store, cost: CostModel, every: int) -> None:
        self._store, self._cost, self._every = store, cost, every
        self._told: dict[str, Running] = {}
        self._next = self._next_news = 0.0
        self._passed_on: dict[str, int] = {}

    def look(self, running: Collection[Node]) -> RunningNodes:
        """What they say; at most every few seconds anew."""
        if time.monotonic() >= self._next:
            self._told = read_running(self._store, {node.key for node in running})
            self._next = time.monotonic() + beat(self._store)
            learn(self._cost, running, self._told)
        return self._told

    def anything(self, _running: Collection[Node]) -> RunningNodes:
        """The words of whatever works on the store, for searches whose trials the driver does not hand out."""
        if time.monotonic() >= self._next:
            self._told = read_running(self._store)
            self._next = time.monotonic() + beat(self._store)
        return self._told

    def news(self, running: Collection[Node]) -> list[tuple[Node, Running]]:
        """Nodes with epochs that a tracker has yet to hear of; a few, and only now and then."""
        if time.monotonic() < self._next_news:
            return []
        self._next_news = time.monotonic() + _NEWS_EVERY
        there = [(node, self._told[node.key]) for node in running if node.key in self._told]
        new = [(node, each) for node, each in there if each.epoch > self._passed_on.get(node.key, 0)][:_NEWS]
        self._passed_on = {node.key: self._passed_on.get(node.key, 0) for node, _ in there}
        self._passed_on |= {node.key: each.epoch for node, each in new}
        return new

    def left(self, node: Node) -> float:
        """Expected seconds until a running node ends: by its own words, else by what is known of its kind."""
        told = self._told.get(node.key)
        return told.left if told and told.left is not None else self._cost.seconds(node)

    def parting(self, running: Collection[Node]) -> str:
        """How long the nodes at work will take, and what is lost if nobody waits for them, in a sentence."""
        told = self.look(running)
        if not running:
            return "nothing is at work"
        longest = max(self.left(node) for node in running)
        nodes = "1 node" if len(running) == 1 else f"{len(running)} nodes"
        epochs = sum(each.epoch % self._every for each in told.values())
        lost = f"{epochs} epochs since their" if epochs else "what they did since their"
        return (
            f"waiting for {nodes} at work, about {titles.duration(max(longest, 1))}; "
            f"again to stop at once, which loses {lost} last checkpoints and nothing else"
        )


def learn(cost: CostModel, nodes: Collection[Node], told: RunningNodes) -> None:
    """Lets the pace of nodes at work count, before any has ended."""
    for node in nodes:
        each = told.get(node.key)
        if each is not None and each.whole is not None:
            cost.glimpse(node, each.whole)


def words(told: Running) -> str:
    """`epoch 3 of 20 · 1,240 images/s · about 2.1 min left`; a stuck node says for how long nothing moved."""
    parts = []
    if told.epochs:
        parts.append(f"epoch {min(told.epoch + 1, told.epochs)} of {told.epochs}")
    if told.per_second:
        parts.append(f"{told.per_second:,.0f} images/s")
    if told.silent > SILENT:
        who = f"worker on {told.host} silent" if told.lost else "nothing moved"
        parts.append(f"{who} for {titles.duration(told.silent)}")
    elif told.left is not None:
        parts.append(f"about {titles.duration(max(told.left, 1))} left")
    return " · ".join(parts) or f"at work for {titles.duration(max(told.told - told.begun, 1))}"
