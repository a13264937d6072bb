"""The driver loop: ready nodes to free workers, outcomes to the frontier, everything else is in the store."""

import math
import time
from collections import Counter, deque
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import partial
from types import MappingProxyType
from typing import Any

from orchestrator.plan import Frontier, Ledger, Plan, State, widen
from orchestrator.plan.costs import CostModel
from orchestrator.run.maintenance import keep_selected_only
from orchestrator.run.outcomes import Clock, Summary, out_of_memory, unwritten
from orchestrator.run.progress import Progress
from orchestrator.run.watch import RunningNodes, Watch
from orchestrator.search import Halving, drop_states, finish
from orchestrator.spec import GridSpec
from tasks import TRAINING, Candidate, Job, Node, Outcome, Place, Record, Unavailable
from tasks.executors import Executor
from tasks.store import Corrupt, Running, Store

_CORRUPT_LIMIT = 3  # a file that breaks more often than this has a broken disk behind it

_LET_GO_EVERY = 5.0  # seconds


class Driver:
    """One run of a plan on an executor.

    settled: earlier failures that are not tried again, also of trials that a search has yet to come to.
    stage: runs searches all together once nothing else can run; without it they run with everything else.
    on_epochs: hears of trainings at work, now and then.
    """

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
        settled: Mapping[str, Record] = MappingProxyType({}),
        stage: Callable[["Driver", list[Node]], None] | None = None,
        on_epochs: Callable[[Node, Running], None] | None = None,
    ) -> None:
        self.spec, self.plan, self.store, self.place = spec, plan, store, place
        self.executor, self.cost, self.clock, self.on_record = executor, cost, clock, on_record
        self.summary = Summary()
        self.running: dict[str, Node] = {}
        self._lost: str | None = None  # why the store can no longer be written
        self._told = time.monotonic()
        self._chores: deque[Future[Any]] = deque()  # done one after the other, beside the loop
        self._alone: set[str] = set()  # nodes that ran out of memory beside others
        self._affinity: dict[int, tuple[str, str, str]] = {}
        self._corrupt: Counter[str] = Counter()
        self.settled, self._stage, self._on_epochs = settled, stage, on_epochs
        self._halvings: dict[str, Halving] = {}
        self.watch = Watch(store, cost, place.checkpoint_epochs)
        executor.meanwhile = self._show_meanwhile

    def run(self, frontier: Frontier, show: Progress) -> Summary:
        """Works until nothing is ready or the clock says stop; waits for what is in flight.

        Raises Unavailable, once nothing is in flight, if the store can no longer be written.
        """
        self.frontier, self.show = frontier, show
        # Removing what lost and telling the tracker takes longer than a node may: workers do not wait for it.
        self._hand = ThreadPoolExecutor(1, "chores")
        try:
            self._drive()
            while self._stage is not None and self.clock.longest() > 0 and self._run_stage():
                self._drive()
        finally:
            self._hand.shutdown(cancel_futures=True)
        if self._lost is not None:
            raise Unavailable(f"{self._lost}; the same command goes on from here")
        self.summary.blocked = self.frontier.count(State.BLOCKED)
        self.summary.left = self.frontier.count(State.WAITING)
        return self.summary

    def _drive(self) -> None:
        """The loop."""
        self.guarded(self._search)
        self._hand_out()
        while self.running or self._chores or self._worth_waiting():
            # first: inline, what runs now runs in the wait
            self.show.update(self.running.values(), self.eta, self._look)
            for outcome in self.executor.wait(timeout=1.0):
                self.guarded(partial(self._settle, outcome))
            self.guarded(self._end_chores)
            self.guarded(self._search)
            self._hand_out()
            self._let_go()

    def parting(self) -> str:
        """What to say to somebody who asked for a stop."""
        return self.watch.parting(self.running.values())

    def _show_meanwhile(self) -> None:
        """While a node runs in this thread: seldom, because the node waits."""
        self.show.update(self.running.values(), self.eta, self._look, meanwhile=True)

    def _look(self, running: Collection[Node]) -> RunningNodes:
        """What running nodes say, passed on to the tracker too."""
        told = self.watch.look(running)
        if self._on_epochs is not None:
            for node, each in self.watch.news(running):
                self._chores.append(self._hand.submit(self._on_epochs, node, each))
        return told

    def _run_stage(self) -> bool:
        """Runs the searches that may begin; False if there are none."""
        searches = self.frontier.next_searches()
        if searches and self._stage is not None:
            self.executor.lend()
            self.guarded(partial(self._stage, self, searches))
            self.executor.need(self.frontier.training_left())
        return bool(searches)

    def _hand_out(self) -> None:
        """Gives every free worker a node, as long as one is ready that ends in time."""
        longest = self.clock.longest() / self.cost.factor
        for slot in self.executor.free_slots():
            room = self.executor.room(slot)
            # No shorter one in the longest one's place: the GPU runs empty for a node that fits beside nothing.
            if not self._start_training(slot, longest, room, overtake=False) and room == math.inf:
                break
        barren = 0.0
        for slot in self.executor.shareable_slots(self.frontier.ready_training()):
            room = self.executor.room(slot)
            if room > barren and not self._start_training(slot, longest, room, overtake=True):
                barren = room
        while self.executor.free_tasks() > 0 and (node := self.frontier.next_task(self.clock.longest())):
            self._submit(node, None)

    def _start_training(self, slot: int, longest: float, room: float, *, overtake: bool) -> bool:
        """Gives a slot a node whose expected memory fits its room, if there is one."""
        node = self.frontier.next_training(
            self._affinity.get(slot),
            longest,
            lambda ready: self.cost.memory.expected(ready) <= room,
            overtake=overtake,
        )
        if node is None:
            return False
        self._affinity[slot] = node.affinity
        self._submit(node, slot)
        return True

    def guarded(self, step: Callable[[], None]) -> None:
        """A step of the loop; a store that is gone ends the handing out, not what is in flight."""
        try:
            step()
        except Unavailable as error:
            self.lose(str(error))

    def lose(self, why: str) -> None:
        """The store can no longer be written."""
        self._lost, self.clock.stopping = why, True

    def _end_chores(self) -> None:
        """Looks at the chores that are done; waits for one if there is nothing else to wait for.

        A selection may need weights that an earlier run dropped: that trial is made unfinished again.
        """
        if not self.running and self._chores:
            wait([self._chores[0]], timeout=1.0)
        while self._chores and self._chores[0].done():
            dropped = self._chores.popleft().result()
            if dropped is not None:
                why = "weights were dropped by an earlier selection and are needed again"
                self._recompute(dropped, why, lost=False)

    def _search(self) -> None:
        """Begins the searches that may, and takes each as far as the gaps at hand allow."""
        if self._stage is not None:
            return
        try:
            self._search_on()
        except Corrupt as error:
            if not self.heal(error.key, str(error)):
                raise Unavailable(f"store {self.store.uri}: {error}, again and again") from error

    def _search_on(self) -> None:
        for node in self.frontier.next_searches():
            self._halvings[node.key] = Halving(node, self.store)
            self.take_in(self._halvings[node.key].wanted)
        for key, search in list(self._halvings.items()):
            while search.step(self.frontier.settled):
                self.take_in(search.wanted)
            if search.over:
                del self._halvings[key]
                self.end_search(search.node, search.ledger, search.seen)

    def take_in(self, nodes: list[Node]) -> None:
        """Adds what a search came to: to do, done before, or not to be tried again."""
        self.frontier.cost |= {node.key: self.cost.work(node) for node in nodes}
        done = self.store.manifests((node.key for node in nodes), broken={}).keys()
        failed = self._failed()
        again = {node.key: failed[node.key] for node in nodes if node.key in failed and node.key not in done}
        self.summary.failed |= again
        self.frontier.add(nodes, done, again)

    def end_search(self, node: Node, ledger: Ledger, seen: Sequence[Candidate]) -> None:
        """Commits a search; its selection can then be made."""
        record = finish(self.store, node, self.place, ledger, seen)
        if record.status == "done":
            widen(self.plan, node, ledger)
            self.summary.computed += 1
            self.frontier.finish(node.key)
        else:
            self.summary.failed[node.key] = record
            self.frontier.fail(node.key)
            self.show.failure(node, record)
        self._chores.append(self._hand.submit(drop_states, self.store, node, ledger))

    def _failed(self) -> dict[str, Record]:
        return {**self.settled, **self.summary.failed}

    def _let_go(self) -> None:
        """From time to time, tells the executor how many slots can still be of use."""
        if time.monotonic() - self._told > _LET_GO_EVERY:
            self._told = time.monotonic()
            self.executor.need(self.frontier.training_left())

    def _worth_waiting(self) -> bool:
        """Whether a node is ready that would end in time, and a worker on its way that may take it."""
        return self.executor.starting() and self.frontier.any_ready(self.clock.longest())

    def _submit(self, node: Node, slot: int | None) -> None:
        self.running[node.key] = node
        self.executor.submit(Job(node, self.place, self.cost.memory.expected(node)), slot)

    def _settle(self, outcome: Outcome) -> None:
        node = self.running.pop(outcome.node.key)
        if outcome.failure == "store":
            outcome = unwritten(outcome, self.store)
        if outcome.failure == "memory" and node.kind in TRAINING:
            if self._again_alone(node):
                return
            outcome = out_of_memory(outcome, self.store, "GPU" if self.executor.capacity.gpus else "machine")
        parent = outcome.corrupt_parent
        if parent is not None and self.heal(parent, outcome.record.error_message or "corrupt"):
            return
        if parent is not None:  # workers note other failures themselves
            self.store.note_failure(outcome.record, outcome.record.error_message or "")
        if outcome.failure is not None:
            self.frontier.fail(node.key)
        else:
            self.summary.computed += 1
            self.frontier.finish(node.key)
            if node.kind == "select" and self.spec.keep != "all":
                self._chores.append(self._hand.submit(keep_selected_only, self.store, self.plan, node))
        self.note(outcome)

    def note(self, outcome: Outcome) -> None:
        """A node's end, for the summary, the pace and the tracker."""
        if outcome.failure is not None:
            self.summary.failed[outcome.node.key] = outcome.record
            self.show.failure(outcome.node, outcome.record)
        else:
            self.cost.observe(outcome.node, outcome.record.node_seconds or 0.0)
            self.cost.memory.observe(outcome.node, outcome.record.peak_memory)
        self._chores.append(self._hand.submit(self.on_record, outcome.record))

    def _again_alone(self, node: Node) -> bool:
        """Runs a node that did not fit beside others by itself, once; False if it was by itself already."""
        if node.key in self._alone or not self.executor.alone(Job(node, self.place)):
            return False
        self._alone.add(node.key)
        self.cost.memory.overflowed(node)
        self.running[node.key] = node
        self.summary.warnings.append(f"out of memory, run again with nothing beside it: {node.words}")
        return True

    def heal(self, key: str, why: str) -> bool:
        """Has a node whose files are broken computed again; False once they break too often."""
        self._corrupt[key] += 1
        if self._corrupt[key] <= _CORRUPT_LIMIT:
            self._recompute(key, why)
        return self._corrupt[key] <= _CORRUPT_LIMIT

    def _recompute(self, key: str, why: str, *, lost: bool = True) -> None:
        """Makes a finished node unfinished and starts the bookkeeping again from the store."""
        words = self.plan.nodes[key].words if key in self.plan.nodes else key[:12]
        self.summary.warnings.append(f"{'quarantined' if lost else 'recomputing'} {words}: {why}")
        if lost:
            self.store.quarantine(key)
        else:
            self.store.forget_node(key)
        done = self.store.finished() - self.running.keys()
        running = {*self.running, *self._halvings}
        self.frontier = Frontier(self.plan, self.frontier.cost, done, self._failed(), running)
        self.show.frontier = self.frontier

    def eta(self) -> float:
        """Expected seconds until the end on these slots, as many at a time as now if GPUs are shared."""
        waiting = (self.plan.nodes[k] for k in self.frontier.keys(State.WAITING))
        at_work = sum(node.kind in TRAINING for node in self.running.values())
        slots = max(self.executor.capacity.slots, at_work)
        begun = sum(self.watch.left(node) for node in self.running.values() if node.kind in TRAINING)
        return (self.cost.total(waiting) + begun) / slots
