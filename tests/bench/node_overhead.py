"""What a node costs beyond its work."""

import itertools
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from unittest.mock import patch

from orchestrator.plan.grid_plan import make_plan
from tasks.executors import executor, on_ray
from tasks.executors.executor import Executor, InlineExecutor
from tasks.executors.on_ray import RayExecutor
from tasks.job import Job, Place
from tasks.node import TRAINING, Kind, make_node
from tests.bench.idle import IdleWorker, attempt_nothing
from tests.bench.measure import Comparison, Effort, Target, side_by_side
from tests.bench.surroundings import as_in_a_node, private_ray, private_surroundings
from tests.one_problem import digits

INLINE, SLOT, TASK = "inline executor", "Ray training slot", "Ray CPU worker"
LIMIT = 0.010  # seconds per node more than inline
Jobs = Callable[[Kind], Job]
Executors = tuple[Executor, Executor]


def node_overhead(effort: Effort) -> list[Comparison]:
    """Nodes that have nothing to compute, inline, on a warm Ray slot and a warm Ray CPU worker.

    Only the node's own function (loading parents, training, evaluating) is replaced by one that returns at
    once. The job's way to the worker, `attempt`, `run_node`, the committed row and manifest (two files,
    flushed to disk) and the outcome's way back are the project's; all executors share them, so the
    difference to inline is what Ray adds. The second table shows what a few nodes cost that arrive together
    after seconds without any, as evaluations do in a run.
    """
    with private_surroundings() as folder, as_in_a_node(), private_ray(), idle_executors() as pair:
        jobs = make_jobs(Place(str(folder / "store"), device="cpu"))
        drive(pair[1], deque([jobs("trial"), jobs("evaluate")]))  # both kinds of worker start together
        return [_one_by_one(pair, jobs, effort), _after_a_pause(pair, jobs, effort)]


def _one_by_one(pair: Executors, jobs: Jobs, effort: Effort) -> Comparison:
    count, (inline, ray) = 1 if effort.tiny else 50, pair
    variants = {
        INLINE: lambda: drive(inline, _some(jobs, "trial", count), at_once=1),
        SLOT: lambda: drive(ray, _some(jobs, "trial", count), at_once=1),
        TASK: lambda: drive(ray, _some(jobs, "evaluate", count), at_once=1),
    }
    return Comparison(
        "node_overhead",
        f"{count} nodes without work, one after the other, committed to a local store",
        "node",
        side_by_side(variants, effort.repeats),
        units=count,
        items=1,
        item="nodes",
        baseline=INLINE,
        target=Target(SLOT, "seconds more", LIMIT),
    )


def _after_a_pause(pair: Executors, jobs: Jobs, effort: Effort) -> Comparison:
    count, pause, ray = (1, 0.0, pair[1]) if effort.tiny else (4, 3.0, pair[1])
    variants = {
        SLOT: lambda: drive(ray, _some(jobs, "trial", count)),
        TASK: lambda: drive(ray, _some(jobs, "evaluate", count)),
    }
    return Comparison(
        "node_overhead",
        f"{count} nodes without work after {pause:g} s without any node",
        "node",
        side_by_side(variants, min(effort.repeats, 5), pause=pause),
        units=count,
        baseline=SLOT,
    )


@contextmanager
def idle_executors() -> Iterator[Executors]:
    """The two executors, the Ray one with a single slot; nothing they are given has anything to do."""
    with ExitStack() as stack:
        stack.enter_context(patch.object(on_ray, "_Worker", IdleWorker))
        stack.enter_context(patch.object(executor, "attempt", attempt_nothing))
        inline, ray = InlineExecutor("cpu"), RayExecutor("cpu", 1.0, slots=1)
        stack.callback(ray.close)
        yield inline, ray


def make_jobs(place: Place) -> Jobs:
    """Makes jobs, each of another node, with the inputs of a real trial: messages have their real size."""
    trial = next(n for n in make_plan(digits()).nodes.values() if n.kind == "trial")
    seeds = itertools.count(1)
    return lambda kind: Job(make_node(kind, trial.parents, trial.inputs | {"seed": next(seeds)}), place)


def _some(jobs: Jobs, kind: Kind, count: int) -> deque[Job]:
    return deque(jobs(kind) for _ in range(count))


def drive(executor: Executor, waiting: deque[Job], at_once: int = 1000) -> None:
    """Hands out and collects as the driver loop does, without its bookkeeping. A failed node is an error."""
    running = 0
    while waiting or running:
        while waiting and running < at_once and _has_room(executor, waiting[0]):
            job = waiting.popleft()
            executor.submit(job, 0 if job.node.kind in TRAINING else None)
            running += 1
        for outcome in executor.wait(timeout=1.0):
            assert outcome.failure is None, outcome.record.error_message
            running -= 1


def _has_room(executor: Executor, job: Job) -> bool:
    return bool(executor.free_slots()) if job.node.kind in TRAINING else executor.free_tasks() > 0
