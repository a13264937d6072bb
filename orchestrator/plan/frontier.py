"""Which nodes may run: bookkeeping over a plan, without clocks, files or workers."""

import heapq
from collections.abc import Callable, Collection
from enum import Enum

from orchestrator.plan.grid_plan import Plan
from tasks import TRAINING, Kind, Node

_Entry = tuple[float, str]  # (minus the expected seconds, key): a heap's smallest entry is the longest node


class State(Enum):
    """A node's state in this run."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    BLOCKED = "blocked"  # cannot run because something it reads failed


_NEEDED: dict[Kind, int] = {
    "select": 1,
    "audit": 3,
}  # parents without which there is nothing, beside any other
_SETTLED = frozenset({State.DONE, State.FAILED, State.BLOCKED})


def _anything(_: object) -> bool:
    return True


class Frontier:
    """The states of a plan's nodes, and the ready ones by what they need.

    A selection waits for all its trials but needs only one of them, beside Retrain's evaluation: a failed
    trial leaves a gap in a search, not a hole in the table. An audit, too, does with fewer shadows. Every other node
    needs all its parents.
    """

    def __init__(
        self,
        plan: Plan,
        cost: dict[str, float],
        done: Collection[str],
        failed: Collection[str] = (),
        running: Collection[str] = (),
    ) -> None:
        self.plan, self.cost = plan, cost
        self.state = dict.fromkeys(plan.nodes, State.WAITING)
        for state, keys in ((State.DONE, done), (State.FAILED, failed), (State.RUNNING, running)):
            self.state |= dict.fromkeys((key for key in keys if key in plan.nodes), state)
        self._children = plan.children()
        self._open = {
            key: sum(self.state[p] not in _SETTLED for p in set(node.parents))
            for key, node in plan.nodes.items()
        }
        self._training: dict[tuple[str, str, str], list[_Entry]] = {}
        self._tasks: list[_Entry] = []
        self._searches: list[str] = []
        for key in [k for k, s in self.state.items() if s is State.WAITING and self._open[k] == 0]:
            self._decide(key)

    def count(self, state: State) -> int:
        """How many nodes are in a state."""
        return sum(s is state for s in self.state.values())

    def keys(self, state: State) -> list[str]:
        """The nodes in a state, in plan order."""
        return [key for key, s in self.state.items() if s is state]

    def training_left(self) -> int:
        """How many training nodes wait or run, with those that searches may still come to at once."""
        left = [self.plan.nodes[k] for k, s in self.state.items() if s in (State.WAITING, State.RUNNING)]
        searching = sum(node.inputs["trials"] for node in left if node.kind == "search")
        return sum(node.kind in TRAINING for node in left) + searching

    def settled(self, key: str) -> bool:
        """Whether a node is done, has failed or can never run."""
        return self.state[key] in _SETTLED

    def next_searches(self) -> list[Node]:
        """The searches that may begin; they are then running."""
        keys, self._searches = self._searches, []
        self.state |= dict.fromkeys(keys, State.RUNNING)
        return [self.plan.nodes[key] for key in keys]

    def add(self, nodes: Collection[Node], done: Collection[str], failed: Collection[str]) -> None:
        """Takes in nodes that a search came to, parents before children. `cost` has an entry for each."""
        for node in nodes:
            if node.key in self.state:  # another cell's, or a selection's from an earlier run
                continue
            self.plan.nodes[node.key] = node
            self._children[node.key] = []
            self._open[node.key] = 0
            for parent in dict.fromkeys(node.parents):
                self._children[parent].append(node.key)
                self._open[node.key] += self.state[parent] not in _SETTLED
            self.state[node.key] = State.WAITING
            if node.key in done or node.key in failed:
                self._settle(node.key, State.DONE if node.key in done else State.FAILED)
            elif self._open[node.key] == 0:
                self._decide(node.key)

    def ready_training(self) -> int:
        """How many training nodes are ready."""
        return sum(len(heap) for heap in self._training.values())

    def any_ready(self, longest: float) -> bool:
        """Whether a node is ready that takes at most `longest` seconds."""
        return any(_longest(heap, longest) for heap in (self._tasks, *self._training.values()))

    def next_task(self, longest: float) -> Node | None:
        """A ready node that needs no slot and takes at most `longest` seconds; it is then running."""
        return self._pop(self._tasks, longest)

    def next_training(
        self,
        affinity: tuple[str, str, str] | None,
        longest: float,
        fits: Callable[[Node], bool] = _anything,
        *,
        overtake: bool = False,
    ) -> Node | None:
        """A ready training node for a slot that last had the given affinity; it is then running.

        The longest expected first, so that no slot is left with a long one at the end; one of the slot's
        own affinity is preferred unless it is less than half as long. If that one does not fit the slot, there
        is none, or with `overtake` the best of those that do.
        """
        among = fits if overtake else _anything
        fitting = {
            a: best
            for a, heap in self._training.items()
            if (best := _longest(heap, longest, lambda key: among(self.plan.nodes[key])))
        }
        if not fitting:
            return None
        chosen = min(fitting, key=lambda a: fitting[a])
        if affinity in fitting and fitting[affinity][0] <= fitting[chosen][0] / 2:  # costs are negative
            chosen = affinity
        if not fits(self.plan.nodes[fitting[chosen][1]]):
            return None
        return self._take(self._training[chosen], fitting[chosen])

    def finish(self, key: str) -> None:
        """The node is done."""
        self._settle(key, State.DONE)

    def fail(self, key: str) -> None:
        """The node failed for good; what needs it is blocked."""
        self._settle(key, State.FAILED)

    def _settle(self, key: str, state: State) -> None:
        self.state[key] = state
        for child in self._children[key]:
            self._open[child] -= 1
            if self._open[child] == 0 and self.state[child] is State.WAITING:
                self._decide(child)

    def _decide(self, key: str) -> None:
        """All parents are settled: the node is ready or can never run."""
        node = self.plan.nodes[key]
        good = [self.state[parent] is State.DONE for parent in node.parents]
        needed = _NEEDED.get(node.kind, len(good))
        if not all(good[:needed]) or (needed < len(good) and not any(good[needed:])):
            self._settle(key, State.BLOCKED)
            return
        if node.kind == "search":
            self._searches.append(key)
            return
        heap = self._training.setdefault(node.affinity, []) if node.kind in TRAINING else self._tasks
        heapq.heappush(heap, (-self.cost[key], key))

    def _pop(self, heap: list[_Entry], longest: float) -> Node | None:
        entry = _longest(heap, longest)
        return None if entry is None else self._take(heap, entry)

    def _take(self, heap: list[_Entry], entry: _Entry) -> Node:
        if entry == heap[0]:
            heapq.heappop(heap)
        else:
            heap.remove(entry)
            heapq.heapify(heap)
        self.state[entry[1]] = State.RUNNING
        return self.plan.nodes[entry[1]]


def _longest(heap: list[_Entry], limit: float, fits: Callable[[str], bool] = _anything) -> _Entry | None:
    """The entry of largest cost that is within the limit, among those whose keys fit."""
    if heap and -heap[0][0] <= limit and fits(heap[0][1]):
        return heap[0]
    return min((entry for entry in heap if -entry[0] <= limit and fits(entry[1])), default=None)
