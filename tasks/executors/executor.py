"""Two ways to run nodes behind one interface: in this process, or on Ray.

Training nodes go to slots, one long-lived worker each, which keeps data, models and compiled code warm.
The other nodes go to a few workers without accelerator, so that none waits for them. Plain Ray tasks would
do, but Ray ends idle workers after a second, and evaluations come in bursts: measured, 24 times slower a node.
Where GPUs are shared by measured memory, a GPU's slot has more slots beside it, for what fits there.
Messages are jobs and outcomes, never tensors: artefacts live in the store.
"""

import math
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from tasks.executors.helper_processes import Helpers
from tasks.executors.resources import Capacity, Group, local_capacity, spare_processes
from tasks.job import Job, Outcome
from tasks.node import Kind
from tasks.nodes import attempt

# Not `data`: whoever trains reads the images too, and keeps them.
_FOR_HELPERS: frozenset[Kind] = frozenset({"evaluate", "select", "score"})


class Executor(Protocol):
    """What the driver loop needs.

    meanwhile: what the driver does while a node runs, where that is in the driver's own thread.
    """

    capacity: Capacity
    meanwhile: Callable[[], None] | None

    def free_slots(self) -> list[int]:
        """Numbers of the slots that could start a training node now."""
        ...

    def shareable_slots(self, ready: int) -> list[int]:
        """Numbers of slots on GPUs that are at work already, `room` says on what more they could be.

        ready: how many nodes there are to start; no more slots than those that no worker on its way will take.
        """
        ...

    def room(self, slot: int) -> float:
        """The largest expected peak (bytes) of a node that could start on a slot now; inf if it has the GPU."""
        ...

    def free_tasks(self) -> int:
        """How many other nodes could start now."""
        ...

    def starting(self) -> bool:
        """Whether more workers are on their way."""
        ...

    def submit(self, job: Job, slot: int | None) -> None:
        """Starts a node on a free slot, or, with None, on another worker."""
        ...

    def alone(self, job: Job) -> bool:
        """Runs a node that ran out of memory once more, with nothing beside it; False if it had that already."""
        ...

    def need(self, count: int) -> None:
        """Says how many training nodes are left; more slots than that are let go."""
        ...

    def lend(self) -> None:
        """Ends the training workers, none of which is at work, so that others may use their places; see `need`."""
        ...

    def wait(self, timeout: float) -> list[Outcome]:
        """Outcomes that have arrived, waiting up to the timeout (seconds) for a first one."""
        ...

    def close(self) -> None:
        """Ends the workers; work in flight is dropped."""
        ...


class InlineExecutor:
    """One node at a time in this process; needs nothing but core's own dependencies.

    helpers: processes that evaluate and choose beside it, so that no GPU waits for them; None: a few, if it trains
    on a GPU. Results are the same with and without.
    """

    def __init__(self, device: str, helpers: int | None = None) -> None:
        self.capacity = local_capacity(device)
        self.meanwhile: Callable[[], None] | None = None
        self._queue: deque[Job] = deque()
        self._helpers = Helpers(spare_processes(self.capacity) if helpers is None else helpers)

    def free_slots(self) -> list[int]:
        """The one slot, unless work is queued."""
        return [] if self._queue else [0]

    def shareable_slots(self, ready: int) -> list[int]:  # noqa: ARG002
        """One node at a time: none."""
        return []

    def room(self, slot: int) -> float:  # noqa: ARG002
        """All there is."""
        return math.inf

    def free_tasks(self) -> int:
        """As many as there are idle helpers; without any, one, unless work is queued."""
        return self._helpers.free() if self._helpers.count else int(not self._queue)

    def starting(self) -> bool:
        """This process is here already."""
        return False

    def submit(self, job: Job, slot: int | None) -> None:  # noqa: ARG002
        """Queues the node, to run in `wait`, or gives it to a helper."""
        if self._helpers.count and job.node.kind in _FOR_HELPERS:
            self._helpers.submit(job)
        else:
            self._queue.append(job)

    def alone(self, job: Job) -> bool:
        """Queues the node with the whole GPU, if it had a share of one."""
        if self.capacity.gpus == 0 or job.place.gpu_share >= 1:
            return False
        self._queue.append(replace(job, place=replace(job.place, gpu_share=1.0)))
        return True

    def need(self, count: int) -> None:
        """Nothing to let go."""

    def lend(self) -> None:
        """Nothing to lend."""

    def wait(self, timeout: float) -> list[Outcome]:
        """Runs the next queued node to its end, or waits for a helper."""
        here = [attempt(self._queue.popleft(), self.meanwhile)] if self._queue else []
        return here + self._helpers.wait(0.0 if here else timeout)

    def close(self) -> None:
        """Ends the helpers."""
        self._helpers.close()


def make_executor(
    kind: str,
    device: str,
    gpus_per_slot: float,
    slots: int | None,
    address: str | None = None,
    groups: tuple[Group, ...] = (),
    trials_per_gpu: int = 1,
    helpers: int | None = None,
) -> Executor:
    """The executor of a name, "inline" or "ray".

    address: of the Ray cluster to join. groups: what its autoscaler may still start. trials_per_gpu: how many
    nodes at most share a GPU as their measured memory allows. helpers: of the inline executor.
    """
    if kind == "inline":
        return InlineExecutor(device, helpers)
    from tasks.executors.on_ray import RayExecutor

    return RayExecutor(device, gpus_per_slot, slots, address, groups, trials_per_gpu)
