"""The executor on Ray: seats, each with one long-lived worker process that keeps its data warm.

A seat outlives its worker: when the worker or its machine dies, the seat asks Ray for another one and its
node goes to whichever seat is free first. A seat without a worker holds no node, so a GPU that never comes
back costs no more than its share of the speed; the request stays open, for an autoscaler to see.
"""

import time
from collections import Counter, deque
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from core.errors import BadInput
from tasks.cluster_address import join
from tasks.failures import attempt, failed
from tasks.job import Job, Outcome
from tasks.node import TRAINING
from tasks.resources import Group, cluster_capacity

_LOSSES = 3  # a node that takes more workers than this with it is to blame itself
_FAILED_STARTS = 20  # so many workers in a row that end before they work: none ever will
_LOOK_AROUND = 10.0  # seconds between two looks at the cluster for new machines


class _Worker:
    """A worker's process: runs one node after the other."""

    def run(self, job: Job) -> Outcome:
        """One node."""
        return attempt(job)

    def where(self) -> str:
        """The home of this process: machine and GPUs, or the machine alone."""
        import ray

        context = ray.get_runtime_context()
        gpus = sorted(context.get_accelerator_ids().get("GPU", []))
        return "/".join([context.get_node_id(), *gpus])


@dataclass
class _Seat:
    """A worker's place. arrival: the open question where its worker is. worker None: it rests."""

    training: bool
    worker: Any = None
    arrival: Any = None
    home: str = ""
    job: Job | None = None

    @property
    def free(self) -> bool:
        """Whether a node could start here now."""
        return self.worker is not None and self.arrival is None and self.job is None


class RayExecutor:
    """Seats on the Ray cluster at the address, or on a new local one.

    slots: an upper bound on training seats, or None. groups: what an autoscaler may still start. A node whose
    worker dies is started again, three times, and as often as it takes when the whole machine died; all other
    failures come back as outcomes.
    """

    def __init__(
        self,
        device: str,
        gpus_per_slot: float,
        slots: int | None,
        address: str | None = None,
        groups: tuple[Group, ...] = (),
    ) -> None:
        import ray

        self._ray = ray
        self._started = not ray.is_initialized()
        if self._started:
            join(ray, address)
        self._asked = (device, gpus_per_slot, slots)
        self.capacity = cluster_capacity(self._nodes(), *self._asked, groups)
        on_cpu = self.capacity.gpus == 0
        # On a CPU-only cluster the slots hold every CPU; the short nodes then run beside them.
        needs = {"num_cpus": 1} if on_cpu else {"num_cpus": 0, "num_gpus": self.capacity.gpus}
        self._actors = {
            True: ray.remote(_Worker).options(**needs),
            False: ray.remote(_Worker).options(num_cpus=0 if on_cpu else 1),
        }
        self._open: dict[Any, _Seat] = {}  # questions to workers that have no answer yet
        self._lost: deque[Job] = deque()  # nodes whose workers died
        self._losses: Counter[str] = Counter()
        self._failed_starts = 0
        self._waiting_alone: deque[Job] = deque()
        self._alone: tuple[str, Job | None] | None = None  # a home kept for one node, and that node
        self._resting: list[_Seat] = []  # its neighbours, meanwhile
        self._slots = [self._seat(training=True) for _ in range(self.capacity.slots)]
        self._tasks = [self._seat(training=False) for _ in range(self.capacity.cpu_tasks)]
        self._looked = time.monotonic()

    def free_slots(self) -> list[int]:
        """Slots that could start a training node now."""
        kept = self._alone[0] if self._alone else None
        return [n for n, seat in enumerate(self._slots) if seat.free and seat.home != kept]

    def free_tasks(self) -> int:
        """How many other nodes could start now."""
        return sum(seat.free for seat in self._tasks)

    def starting(self) -> bool:
        """Whether workers are on their way: from a new process, or from a machine that has yet to come."""
        return any(seat.arrival is not None for seat in (*self._slots, *self._tasks))

    def submit(self, job: Job, slot: int | None) -> None:
        """Sends the node to its slot, or to a free worker of the other kind."""
        assert (slot is None) != (job.node.kind in TRAINING)
        self._start(next(s for s in self._tasks if s.free) if slot is None else self._slots[slot], job)

    def alone(self, job: Job) -> bool:
        """Runs the node once more with its GPU (without GPUs, its machine) to itself; False if it had that."""
        if not self._shared():
            return False
        self._waiting_alone.append(job)
        self._hand_out()
        return True

    def need(self, count: int) -> None:
        """Lets go of slots that no training node will come for, so that an autoscaler can end their machines."""
        active = [s for s in self._slots if s.worker is not None]
        spare = len(active) + len(self._resting) - max(count, 1)
        for seat in sorted(active, key=lambda seat: seat.arrival is None)[: max(spare, 0)]:
            if seat.job is None:
                self._dismiss(seat)
        for seat in [s for s in self._slots if s.worker is None and s not in self._resting][: max(-spare, 0)]:
            self._renew(seat)

    def lend(self) -> None:
        """Ends the training workers, so that others may use what they held, until `need` asks for them again."""
        for seat in self._slots:
            self._dismiss(seat)

    def wait(self, timeout: float) -> list[Outcome]:
        """Everything that has finished; a worker lost for good is a system failure of its node."""
        self._look_around()
        if not self._open:
            return []
        ready, _ = self._ray.wait(list(self._open), num_returns=1, timeout=timeout)
        if ready:
            ready, _ = self._ray.wait(list(self._open), num_returns=len(self._open), timeout=0)
        outcomes = [self._answer(reference) for reference in ready]
        self._hand_out()
        return [outcome for outcome in outcomes if outcome is not None]

    def close(self) -> None:
        """Ends the workers, and the local Ray if this object started it."""
        for seat in (*self._slots, *self._tasks):
            self._dismiss(seat)
        if self._started:
            self._ray.shutdown()

    def _shared(self) -> bool:
        """Whether slots share GPUs, or machines; also while some of their workers are on their way."""
        if self.capacity.gpus:
            return self.capacity.gpus < 1
        homes = Counter(seat.home for seat in self._slots if seat.home)
        slots = sum(seat.worker is not None for seat in self._slots) + len(self._resting)
        return max(homes.values(), default=0) > 1 or slots > len(self._alive())

    # seats

    def _seat(self, *, training: bool) -> _Seat:
        seat = _Seat(training)
        self._renew(seat)
        return seat

    def _renew(self, seat: _Seat) -> None:
        """Asks for a new worker in the place of whatever was there."""
        self._dismiss(seat)
        seat.worker = self._actors[seat.training].remote()
        seat.arrival = seat.worker.where.remote()
        self._open[seat.arrival] = seat

    def _dismiss(self, seat: _Seat) -> None:
        if seat.worker is not None:
            with suppress(Exception):
                self._ray.kill(seat.worker)
        self._open.pop(seat.arrival, None)
        seat.worker, seat.arrival, seat.home = None, None, ""

    def _start(self, seat: _Seat, job: Job) -> None:
        seat.job = job
        self._open[seat.worker.run.remote(job)] = seat

    def _answer(self, reference: Any) -> Outcome | None:
        """The outcome behind a reference, if it is one and the node is not to run again."""
        seat = self._open.pop(reference)
        if reference == seat.arrival:
            self._arrived(seat)
            return None
        job, seat.job = seat.job, None
        assert job is not None
        outcome = self._outcome(seat, reference, job)
        if self._alone is not None and self._alone[1] is job:
            self._end_alone(again=outcome is None)
        return outcome

    def _arrived(self, seat: _Seat) -> None:
        try:
            seat.home, seat.arrival = self._ray.get(seat.arrival), None
            self._failed_starts = 0
        except self._ray.exceptions.RayError as error:
            self._failed_starts += 1
            if self._failed_starts >= _FAILED_STARTS:
                said = str(error).strip().splitlines() or [type(error).__name__]
                raise BadInput(f"no worker can start: {said[-1][:300]}") from error
            self._renew(seat)

    def _outcome(self, seat: _Seat, reference: Any, job: Job) -> Outcome | None:
        errors = self._ray.exceptions
        try:
            outcome: Outcome = self._ray.get(reference)
        except errors.RayTaskError as error:  # the worker lives; what it did could not be sent
            return failed(job, error, "system")
        except errors.OutOfMemoryError as error:  # the machine's memory was full and Ray chose this one
            self._renew(seat)
            return failed(job, error, "memory")
        except errors.RayError as error:
            machine = seat.home.split("/")[0]
            self._renew(seat)
            if any(node["NodeID"] == machine for node in self._alive()):
                self._losses[job.node.key] += 1
            if self._losses[job.node.key] > _LOSSES:
                return failed(job, error, "system")
            if self._alone is None or self._alone[1] is not job:
                self._lost.append(job)
            return None
        return outcome

    def _hand_out(self) -> None:
        """Nodes that were lost go first; then one that is to be alone, once its home is empty."""
        for _ in range(len(self._lost)):
            job = self._lost.popleft()
            if job.node.kind in TRAINING:
                seat = next((self._slots[n] for n in self.free_slots()), None)
            else:
                seat = next((seat for seat in self._tasks if seat.free), None)
            if seat is None:
                self._lost.append(job)
            else:
                self._start(seat, job)
        if self._waiting_alone and self._alone is None:
            homes = [seat.home for seat in self._slots if seat.home]
            busy = Counter(seat.home for seat in self._slots if seat.job is not None)
            if homes:
                self._alone = min(homes, key=lambda home: busy[home]), None
        if self._alone is not None and self._alone[1] is None:
            self._start_alone(self._alone[0])

    def _start_alone(self, home: str) -> None:
        seats = [seat for seat in self._slots if seat.home == home]
        if any(not seat.free for seat in seats):
            return
        if not seats:  # the machine is gone
            self._alone = None
            return
        for neighbour in seats[1:]:  # idle is not enough: its process holds images, models and cached memory
            self._dismiss(neighbour)
        self._resting = seats[1:]
        job = self._waiting_alone.popleft()
        whole = replace(job, place=replace(job.place, gpu_share=max(1.0, job.place.gpu_share)))
        self._start(seats[0], whole)
        self._alone = home, whole

    def _end_alone(self, *, again: bool) -> None:
        assert self._alone is not None
        _, job = self._alone
        self._alone = None
        if again and job is not None:
            self._waiting_alone.appendleft(job)
        while self._resting:
            self._renew(self._resting.pop())

    # the cluster

    def _alive(self) -> list[dict[str, Any]]:
        return [node for node in self._ray.nodes() if node["Alive"]]

    def _nodes(self) -> list[dict[str, float]]:
        return [node["Resources"] for node in self._alive()]

    def _look_around(self) -> None:
        """Machines that joined since get seats too."""
        if time.monotonic() - self._looked < _LOOK_AROUND:
            return
        self._looked = time.monotonic()
        with suppress(BadInput):  # at the moment there may be no machine at all
            now = cluster_capacity(self._nodes(), *self._asked)
            if now.gpus == self.capacity.gpus and now.slots > len(self._slots):
                self._slots += [self._seat(training=True) for _ in range(now.slots - len(self._slots))]
