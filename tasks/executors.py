"""Two ways to run nodes behind one interface: in this process, or on Ray.

Training nodes go to slots: one long-lived Ray actor each, which keeps data, models and compiled code warm.
The other nodes go to a few actors without accelerator, so that none waits for them. Plain Ray tasks would do,
but Ray ends idle workers after a second, and evaluations come in bursts: measured, 24 times slower a node.
Messages are jobs and outcomes, never tensors: artefacts live in the store.
"""

from collections import deque
from contextlib import suppress
from typing import Any, Protocol

from core.errors import BadInput
from tasks.failures import attempt, failed
from tasks.job import Job, Outcome
from tasks.node import TRAINING
from tasks.resources import Capacity, cluster_capacity, local_capacity


class Executor(Protocol):
    """What the driver loop needs."""

    capacity: Capacity

    def free_slots(self) -> list[int]:
        """Numbers of the slots that could start a training node now."""
        ...

    def free_tasks(self) -> int:
        """How many other nodes could start now."""
        ...

    def submit(self, job: Job, slot: int | None) -> None:
        """Starts a node on a free slot, or, with None, on another worker."""
        ...

    def wait(self, timeout: float) -> list[Outcome]:
        """Outcomes that have arrived, waiting up to the timeout (seconds) for a first one."""
        ...

    def close(self) -> None:
        """Ends the workers; work in flight is dropped."""
        ...


class InlineExecutor:
    """One node at a time in this process; needs nothing but core's own dependencies."""

    def __init__(self, device: str) -> None:
        self.capacity = local_capacity(device)
        self._queue: deque[Job] = deque()

    def free_slots(self) -> list[int]:
        """The one slot, unless work is queued."""
        return [] if self._queue else [0]

    def free_tasks(self) -> int:
        """One, unless work is queued."""
        return 0 if self._queue else 1

    def submit(self, job: Job, slot: int | None) -> None:  # noqa: ARG002
        """Queues the node; it runs in `wait`."""
        self._queue.append(job)

    def wait(self, timeout: float) -> list[Outcome]:  # noqa: ARG002
        """Runs the next queued node to its end."""
        return [attempt(self._queue.popleft())] if self._queue else []

    def close(self) -> None:
        """Nothing to end."""


class _Worker:
    """A worker's process: runs one node after the other."""

    def run(self, job: Job) -> Outcome:
        """One node."""
        return attempt(job)


class RayExecutor:
    """Two pools of actors on the Ray cluster of the environment, or on a new local one.

    A worker that dies is restarted and its node retried by Ray, three times; all other failures come back
    as outcomes.
    """

    def __init__(
        self, device: str, gpus_per_slot: float, slots: int | None, address: str | None = None
    ) -> None:
        import ray

        self._ray = ray
        self._started = not ray.is_initialized()
        if self._started:
            _connect(ray, address)
        nodes = [n["Resources"] for n in ray.nodes() if n["Alive"]]
        self.capacity = cluster_capacity(nodes, device, gpus_per_slot, slots)
        on_cpu = self.capacity.gpus == 0
        # On a CPU-only cluster the slots hold every CPU; the short nodes then run beside them.
        slot = _actor(ray, num_cpus=1) if on_cpu else _actor(ray, num_cpus=0, num_gpus=self.capacity.gpus)
        task = _actor(ray, num_cpus=0 if on_cpu else 1)
        self._slots = {number: slot.remote() for number in range(self.capacity.slots)}
        self._tasks = [task.remote() for _ in range(self.capacity.cpu_tasks)]
        self._idle_tasks = list(self._tasks)
        self._running: dict[Any, tuple[Job, int | None, Any]] = {}

    def free_slots(self) -> list[int]:
        """Slots without a node."""
        busy = {slot for _, slot, _ in self._running.values()}
        return [number for number in self._slots if number not in busy]

    def free_tasks(self) -> int:
        """Idle workers for other nodes."""
        return len(self._idle_tasks)

    def submit(self, job: Job, slot: int | None) -> None:
        """Sends the node to its slot, or to an idle worker of the other pool."""
        assert (slot is None) != (job.node.kind in TRAINING)
        worker = self._idle_tasks.pop() if slot is None else self._slots[slot]
        self._running[worker.run.remote(job)] = (job, slot, worker)

    def wait(self, timeout: float) -> list[Outcome]:
        """Everything that has finished; a worker lost for good is a system failure of its node."""
        if not self._running:
            return []
        ready, _ = self._ray.wait(list(self._running), num_returns=1, timeout=timeout)
        if ready:
            ready, _ = self._ray.wait(list(self._running), num_returns=len(self._running), timeout=0)
        return [self._outcome(reference) for reference in ready]

    def _outcome(self, reference: object) -> Outcome:
        job, slot, worker = self._running.pop(reference)
        if slot is None:
            self._idle_tasks.append(worker)
        try:
            outcome: Outcome = self._ray.get(reference)
        except self._ray.exceptions.OutOfMemoryError as error:
            return failed(job, error, "memory")
        except self._ray.exceptions.RayError as error:
            return failed(job, error, "system")
        return outcome

    def close(self) -> None:
        """Ends the workers, and the local Ray if this object started it."""
        for worker in [*self._slots.values(), *self._tasks]:
            with suppress(Exception):
                self._ray.kill(worker)
        if self._started:
            self._ray.shutdown()


def _actor(ray: Any, **resources: float) -> Any:
    return ray.remote(_Worker).options(max_restarts=-1, max_task_retries=3, **resources)


def _connect(ray: Any, address: str | None) -> None:
    """Joins the cluster of the address or the environment, or starts one on this machine."""
    try:
        # log_to_driver off: workers' lines would break the progress display; failures keep their own logs
        ray.init(address=address, log_to_driver=False, logging_level="ERROR")
    except ConnectionError as error:
        raise BadInput(
            f"no Ray cluster answers at {address or 'the address in RAY_ADDRESS'}: {error}"
        ) from error


def make_executor(kind: str, device: str, gpus_per_slot: float, slots: int | None) -> Executor:
    """The executor of a name, "inline" or "ray"."""
    if kind == "inline":
        return InlineExecutor(device)
    return RayExecutor(device, gpus_per_slot, slots)
