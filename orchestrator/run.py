"""The driver loop: ready nodes to free workers, outcomes to the frontier, everything else is in the store."""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from orchestrator.cost import CostModel
from orchestrator.frontier import Frontier, State
from orchestrator.plan import Plan
from orchestrator.progress import Progress
from orchestrator.spec import GridSpec
from orchestrator.upkeep import keep_selected_only
from tasks.executors import Executor
from tasks.job import Job, Outcome, Place
from tasks.node import Node
from tasks.record import Record
from tasks.store import Store

_CORRUPT_LIMIT = 3  # a file that breaks more often than this has a broken disk behind it


@dataclass
class Summary:
    """How a run ended. left: nodes not started because the time was up or a stop was asked for."""

    computed: int = 0
    failed: dict[str, Record] = field(default_factory=dict)
    blocked: int = 0
    left: int = 0
    warnings: list[str] = field(default_factory=list)


@dataclass
class Clock:
    """When to hand out no more work: after the budget (seconds, None: never) or when asked to stop."""

    budget: float | None = None
    stopping: bool = False
    started: float = field(default_factory=time.monotonic)

    def longest(self) -> float:
        """The longest node that may still start, in seconds."""
        if self.stopping:
            return 0.0
        if self.budget is None:
            return float("inf")
        return self.started + self.budget - time.monotonic()


class Driver:
    """One run of a plan on an executor."""

    def __init__(
        self,
        spec: GridSpec,
        plan: Plan,
        store: Store,
        place: Place,
        executor: Executor,
        cost: CostModel,
        clock: Clock,
        on_record: Callable[[Record], None],
    ) -> None:
        self.spec, self.plan, self.store, self.place = spec, plan, store, place
        self.executor, self.cost, self.clock, self.on_record = executor, cost, clock, on_record
        self.summary = Summary()
        self.running: dict[str, Node] = {}
        self._affinity: dict[int, tuple[str, str, str]] = {}
        self._corrupt: Counter[str] = Counter()

    def run(self, frontier: Frontier, show: Progress) -> Summary:
        """Works until nothing is ready or the clock says stop; waits for what is in flight."""
        self.frontier, self.show = frontier, show
        self._hand_out()
        while self.running:
            for outcome in self.executor.wait(timeout=1.0):
                self._settle(outcome)
            self._hand_out()
            show.update(self.running.values(), self._eta)
        self.summary.blocked = self.frontier.count(State.BLOCKED)
        self.summary.left = self.frontier.count(State.WAITING)
        return self.summary

    def _hand_out(self) -> None:
        """Gives every free worker a node, as long as one is ready that ends in time."""
        longest = self.clock.longest() / self.cost.factor
        for slot in self.executor.free_slots():
            node = self.frontier.next_training(self._affinity.get(slot), longest)
            if node is None:
                break
            self._affinity[slot] = node.affinity
            self._submit(node, slot)
        while self.executor.free_tasks() > 0 and (node := self.frontier.next_task(self.clock.longest())):
            self._submit(node, None)

    def _submit(self, node: Node, slot: int | None) -> None:
        self.running[node.key] = node
        self.executor.submit(Job(node, self.place), slot)

    def _settle(self, outcome: Outcome) -> None:
        node = self.running.pop(outcome.node.key)
        parent = outcome.corrupt_parent
        if parent is not None and self._corrupt[parent] < _CORRUPT_LIMIT:
            self._corrupt[parent] += 1
            self._recompute(parent, outcome.record.error_message or "corrupt")
            return
        if parent is not None:  # workers note other failures themselves
            self.store.note_failure(outcome.record, outcome.record.error_message or "")
        if outcome.failure is not None:
            self.summary.failed[node.key] = outcome.record
            self.frontier.fail(node.key)
            self.show.failure(node, outcome.record)
        else:
            self.summary.computed += 1
            self.cost.observe(node, outcome.record.node_seconds or 0.0)
            self.frontier.finish(node.key)
            self._after_selection(node)
        self.on_record(outcome.record)

    def _after_selection(self, node: Node) -> None:
        """Keeps the chosen trial's weights alone; brings them back if an earlier run dropped them."""
        if node.kind != "select" or self.spec.keep == "all":
            return
        dropped = keep_selected_only(self.store, self.plan, node)
        if dropped is not None:
            self._recompute(
                dropped, "weights were dropped by an earlier selection and are needed again", lost=False
            )

    def _recompute(self, key: str, why: str, *, lost: bool = True) -> None:
        """Makes a finished node unfinished and starts the bookkeeping again from the store."""
        words = self.plan.nodes[key].words if key in self.plan.nodes else key[:12]
        self.summary.warnings.append(f"{'quarantined' if lost else 'recomputing'} {words}: {why}")
        if lost:
            self.store.quarantine(key)
        else:
            self.store.forget_node(key)
        done = self.store.finished() - self.running.keys()
        self.frontier = Frontier(self.plan, self.frontier.cost, done, self.summary.failed, self.running)
        self.show.frontier = self.frontier

    def _eta(self) -> float:
        """Expected seconds until the end on these slots."""
        waiting = (self.plan.nodes[k] for k in self.frontier.keys(State.WAITING))
        return self.cost.total([*waiting, *self.running.values()]) / self.executor.capacity.slots
