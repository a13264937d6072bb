"""What a node costs beyond its work."""

import itertools
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from unittest.mock import patch

from orchestrator.plan import make_plan
from orchestrator.recipes import digits
from tasks import executors
from tasks.executors import Executor, InlineExecutor, RayExecutor
from tasks.job import Job, Place
from tasks.node import TRAINING, Kind, make_node
from tests.bench.idle import IdleSlot, attempt_nothing
from tests.bench.measure import Comparison, Effort, Target, side_by_side
from tests.bench.surroundings import as_in_a_node, private_ray, private_surroundings

INLINE, SLOT, TASK = "inline executor", "Ray slot (actor)", "Ray tasks, several in flight"
LIMIT = 0.010  # seconds per node more than inline


def node_overhead(effort: Effort) -> list[Comparison]:
    """Nodes that have nothing to compute, one after the other, on one warm Ray slot and inline.

    Only the node's own function (loading parents, training, evaluating) is replaced by one that returns at
    once. The job's way to the worker, `attempt`, `run_node`, the committed row and manifest (two files,
    flushed to disk) and the outcome's way back are the project's; all executors share them, so the
    difference to inline is what Ray adds. Plain Ray tasks are shown too, several in flight as in a run.
    """
    count = 1 if effort.tiny else 50
    with private_surroundings() as folder, as_in_a_node(), private_ray(), idle_executors() as (inline, ray):
        jobs = _jobs(Place(str(folder / "store"), device="cpu"))
        variants = {
            INLINE: _repetition(inline, jobs, "trial", count),
            SLOT: _repetition(ray, jobs, "trial", count),
            TASK: _repetition(ray, jobs, "evaluate", count),
        }
        drive(ray, deque([jobs("trial"), jobs("evaluate")]))  # both kinds of worker start at the same time
        seconds = side_by_side(variants, effort.repeats)
    return [
        Comparison(
            "node_overhead",
            f"{count} nodes without work, each committed to a local store",
            "node",
            seconds,
            units=count,
            items=1,
            item="nodes",
            baseline=INLINE,
            target=Target(SLOT, "seconds more", LIMIT),
        )
    ]


@contextmanager
def idle_executors() -> Iterator[tuple[Executor, Executor]]:
    """The two executors, the Ray one with a single slot; nothing they are given has anything to do."""
    with ExitStack() as stack:
        stack.enter_context(patch.object(executors, "_Slot", IdleSlot))
        stack.enter_context(patch.object(executors, "attempt", attempt_nothing))
        inline, ray = InlineExecutor("cpu"), RayExecutor("cpu", 1.0, slots=1)
        stack.callback(ray.close)
        yield inline, ray


def _jobs(place: Place) -> Callable[[Kind], Job]:
    """Makes jobs, each of another node, with the inputs of a real trial: messages have their real size."""
    trial = next(n for n in make_plan(digits()).nodes.values() if n.kind == "trial")
    seeds = itertools.count(1)
    return lambda kind: Job(make_node(kind, trial.parents, trial.inputs | {"seed": next(seeds)}), place)


def _repetition(
    executor: Executor, jobs: Callable[[Kind], Job], kind: Kind, count: int
) -> Callable[[], None]:
    return lambda: drive(executor, deque(jobs(kind) for _ in range(count)))


def drive(executor: Executor, waiting: deque[Job]) -> None:
    """Hands out and collects as the driver loop does, without its bookkeeping. A failed node is an error."""
    running = 0
    while waiting or running:
        while waiting and _has_room(executor, waiting[0]):
            job = waiting.popleft()
            executor.submit(job, 0 if job.node.kind in TRAINING else None)
            running += 1
        for outcome in executor.wait(timeout=1.0):
            assert outcome.failure is None, outcome.record.error_message
            running -= 1


def _has_room(executor: Executor, job: Job) -> bool:
    return bool(executor.free_slots()) if job.node.kind in TRAINING else executor.free_tasks() > 0
