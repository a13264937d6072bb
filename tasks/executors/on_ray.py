"""The executor on Ray: seats, each with one long-lived worker process that keeps its data warm.

A seat outlives its worker: when the worker or its machine dies, the seat asks Ray for another one and its
node goes to whichever seat is free first. A seat without a worker holds no node, so a GPU that never comes
back costs no more than its share of the speed; the request stays open, for an autoscaler to see.

Where trials share a GPU as their measured memory allows, its seat has side seats. In Ray's books the seat has the
whole GPU; a side seat asks Ray for nothing and is told where to sit, so that its worker comes with its first node,
and only where there is room.
"""

import math
import os
import time
from collections import Counter, deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

from core.errors import BadInput
from tasks.executors import packing
from tasks.executors.cluster_address import join
from tasks.executors.resources import Group, cluster_capacity
from tasks.executors.seats import Seat, in_the_way, open_sides, peaks_beside, room_at
from tasks.job import Job, Outcome
from tasks.node import TRAINING
from tasks.nodes import attempt, failed

_LOSSES = 3  # a node that takes more workers than this with it is to blame itself
_FAILED_STARTS = 20  # so many workers in a row that end before they work: none ever will
_LOOK_AROUND = 10.0  # seconds between two looks at the cluster for new machines


class _Worker:
    """A worker's process: runs one node after the other. gpus: what it is to see, where Ray does not say."""

    def __init__(self, gpus: str | None = None) -> None:
        if gpus is not None:
            os.environ["CUDA_VISIBLE_DEVICES"] = gpus  # CUDA reads it when the first node starts

    def run(self, job: Job) -> Outcome:
        """One node."""
        return attempt(job)

    def where(self) -> tuple[str, int]:
        """The home of this process, machine and GPUs or the machine alone; and its GPU's bytes of memory, else 0."""
        import ray
        import torch

        context = ray.get_runtime_context()
        gpus = sorted(context.get_accelerator_ids().get("GPU", []))
        on_gpu = gpus and torch.cuda.is_available()
        memory = torch.cuda.get_device_properties(0).total_memory if on_gpu else 0
        return "/".join([context.get_node_id(), *gpus]), memory


class RayExecutor:
    """Seats on the Ray cluster at the address, or on a new local one.

    slots: an upper bound on training seats, or None. groups: what an autoscaler may still start. trials_per_gpu:
    how many nodes at most share a GPU, each held to what `Job.memory` says it needs. A node whose worker dies is
    started again, three times, and as often as it takes when the whole machine died; all other failures come
    back as outcomes.
    """

    def __init__(
        self,
        device: str,
        gpus_per_slot: float,
        slots: int | None,
        address: str | None = None,
        groups: tuple[Group, ...] = (),
        trials_per_gpu: int = 1,
    ) -> None:
        import ray

        self._ray = ray
        self.meanwhile: Callable[[], None] | None = None  # workers have threads of their own
        self._started = not ray.is_initialized()
        if self._started:
            join(ray, address)
        self._asked = (device, gpus_per_slot, slots)
        capacity = cluster_capacity(self._nodes(), *self._asked, groups)
        on_cpu = capacity.gpus == 0
        self.capacity = capacity if on_cpu else replace(capacity, trials=trials_per_gpu)
        # On a CPU-only cluster the slots hold every CPU; the short nodes then run beside them.
        needs = {"num_cpus": 1} if on_cpu else {"num_cpus": 0, "num_gpus": self.capacity.gpus}
        self._actors = {
            True: ray.remote(_Worker).options(**needs),
            False: ray.remote(_Worker).options(num_cpus=0 if on_cpu else 1),
        }
        self._side_actor = ray.remote(_Worker)
        self._open: dict[Any, Seat] = {}  # questions to workers that have no answer yet
        self._lost: deque[Job] = deque()  # nodes whose workers died
        self._losses: Counter[str] = Counter()
        self._failed_starts = 0
        self._waiting_alone: deque[Job] = deque()
        self._alone: tuple[str, Job | None] | None = None  # a home kept for one node, and that node
        self._resting: list[Seat] = []  # its neighbours, meanwhile
        self._limited: set[str] = set()  # nodes that were held to a share of a GPU by their memory
        self._slots: list[Seat] = []
        self._add_slots(self.capacity.slots)
        self._tasks = [self._seat(training=False) for _ in range(self.capacity.cpu_tasks)]
        self._looked = time.monotonic()

    def free_slots(self) -> list[int]:
        """Slots that could start a training node now."""
        free = [n for n, s in enumerate(self._slots) if s.host is None and s.free and s.home != self._kept]
        # A node that was lost may need a GPU that is empty.
        return [n for n in free if self.room(n) == math.inf] if self._lost else free

    def shareable_slots(self, ready: int) -> list[int]:
        """Side seats that could start a node now, for so many ready ones as no worker on its way will take."""
        coming = sum(seat.arrival is not None for seat in self._slots)
        return [] if self._lost else open_sides(self._slots, self._kept)[: max(ready - coming, 0)]

    def room(self, slot: int) -> float:
        """The largest expected peak (bytes) of a node that could start on a slot now; inf if it has the GPU."""
        return room_at(self._slots[slot], self._slots) if self.capacity.trials > 1 else math.inf

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
        if not (self._shared() if self.capacity.trials == 1 else job.node.key in self._limited):
            return False
        self._waiting_alone.append(job)
        self._hand_out()
        return True

    def need(self, count: int) -> None:
        """Lets go of slots that no training node will come for, so that an autoscaler can end their machines."""
        seats = [s for s in self._slots if s.host is None]
        active = [s for s in seats if s.worker is not None]
        spare = len(active) + len(self._resting) - max(count, 1)
        idle = [s for s in active if s.job is None and not self._has_company(s)]
        for seat in sorted(idle, key=lambda seat: seat.arrival is None)[: max(spare, 0)]:
            self._dismiss(seat)
        for seat in [s for s in seats if s.worker is None and s not in self._resting][: max(-spare, 0)]:
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

    @property
    def _kept(self) -> str | None:
        """The home that is kept for one node."""
        return self._alone[0] if self._alone else None

    def _has_company(self, seat: Seat) -> bool:
        """Whether side seats are at work on the seat's GPU."""
        return self.capacity.trials > 1 and bool(peaks_beside(seat, self._slots))

    # seats

    def _add_slots(self, count: int) -> None:
        """More training seats, each with its side seats."""
        for _ in range(count):
            seat = self._seat(training=True)
            self._slots += [seat, *(Seat(training=True, host=seat) for _ in range(self.capacity.trials - 1))]

    def _seat(self, *, training: bool) -> Seat:
        seat = Seat(training)
        self._renew(seat)
        return seat

    def _renew(self, seat: Seat) -> None:
        """Asks for a new worker in the place of whatever was there; a side seat's comes with its next node."""
        self._dismiss(seat)
        if seat.host is not None:
            return
        seat.worker = self._actors[seat.training].remote()
        seat.arrival = seat.worker.where.remote()
        self._open[seat.arrival] = seat

    def _dismiss(self, seat: Seat) -> None:
        if seat.worker is not None:
            with suppress(Exception):
                self._ray.kill(seat.worker)
        self._open.pop(seat.arrival, None)
        seat.worker, seat.arrival, seat.home, seat.last = None, None, "", None
        for side in self._slots:
            if side.host is seat and side.job is None:  # what is at work may finish
                self._dismiss(side)

    def _start(self, seat: Seat, job: Job) -> None:
        """Starts a node: on a GPU with as much of it as it is expected to need, beside GPUs without one."""
        if not seat.training:  # Ray hides no GPU from a worker that asked for none
            job = replace(job, place=replace(job.place, device="cpu"))
        elif self.capacity.trials > 1:
            job = self._limit(seat, job)
            for side in in_the_way(job, seat, self._slots):
                self._dismiss(side)
            if seat.worker is None and seat.host is not None:
                self._sit_beside(seat, seat.host)
        seat.job = seat.last = job
        self._open[seat.worker.run.remote(job)] = seat

    def _limit(self, seat: Seat, job: Job) -> Job:
        """The node with its share of the seat's GPU."""
        share = packing.share(seat.owner.memory, job.memory)
        if share < 1:
            self._limited.add(job.node.key)
        return replace(job, place=replace(job.place, gpu_share=share))

    def _sit_beside(self, seat: Seat, host: Seat) -> None:
        """A worker for a side seat, on its host's machine and GPU."""
        machine, *gpus = host.home.split("/")
        there = self._ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(machine, soft=False)
        actor = self._side_actor.options(num_cpus=0, num_gpus=0, scheduling_strategy=there)
        seat.worker, seat.home = actor.remote(",".join(gpus)), host.home

    def _answer(self, reference: Any) -> Outcome | None:
        """The outcome behind a reference, if it is one and the node is not to run again."""
        seat = self._open.pop(reference)
        if reference == seat.arrival:
            self._arrived(seat)
            return None
        job, seat.job = seat.job, None
        assert job is not None
        outcome = self._outcome(seat, reference, job)
        if seat.home != seat.owner.home:  # its host has gone to another GPU
            self._dismiss(seat)
        if self._alone is not None and self._alone[1] is job:
            self._end_alone(again=outcome is None)
        return outcome

    def _arrived(self, seat: Seat) -> None:
        try:
            (seat.home, seat.memory), seat.arrival = self._ray.get(seat.arrival), None
            self._failed_starts = 0
        except self._ray.exceptions.RayError as error:
            self._failed_starts += 1
            if self._failed_starts >= _FAILED_STARTS:
                said = str(error).strip().splitlines() or [type(error).__name__]
                raise BadInput(f"no worker can start: {said[-1][:300]}") from error
            self._renew(seat)

    def _outcome(self, seat: Seat, reference: Any, job: Job) -> Outcome | None:
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
                seat = next((self._slots[n] for n in self.free_slots() if job.memory <= self.room(n)), None)
            else:
                seat = next((seat for seat in self._tasks if seat.free), None)
            if seat is None:
                self._lost.append(job)
            else:
                self._start(seat, job)
        if self._waiting_alone and self._alone is None:
            homes = [seat.home for seat in self._slots if seat.home and seat.host is None]
            busy = Counter(seat.home for seat in self._slots if seat.job is not None)
            if homes:
                self._alone = min(homes, key=lambda home: busy[home]), None
        if self._alone is not None and self._alone[1] is None:
            self._start_alone(self._alone[0])

    def _start_alone(self, home: str) -> None:
        seats = [seat for seat in self._slots if seat.home == home]
        if any(not seat.free for seat in seats):
            return
        seats.sort(key=lambda seat: seat.host is not None)
        if not seats or seats[0].host is not None:  # the machine is gone, or the seat is on another one
            self._alone = None
            return
        for neighbour in seats[1:]:  # idle is not enough: its process holds images, models and cached memory
            self._dismiss(neighbour)
        self._resting = [seat for seat in seats[1:] if seat.host is None]
        job = self._waiting_alone.popleft()
        whole = replace(
            job, place=replace(job.place, gpu_share=max(1.0, job.place.gpu_share)), memory=math.inf
        )
        self._start(seats[0], whole)
        self._alone = home, seats[0].job

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
            slots = sum(seat.host is None for seat in self._slots)
            if now.gpus == self.capacity.gpus and now.slots > slots:
                self._add_slots(now.slots - slots)
