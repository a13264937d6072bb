"""How close a whole grid comes to the time its training nodes need, and how soon it answers when it is done."""

import gc
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from unittest.mock import patch

from rich.console import Console

from orchestrator.environment import make_place
from orchestrator.plan.costs.estimate import CostModel
from orchestrator.plan.costs.paces import pace_of
from orchestrator.plan.frontier import Frontier
from orchestrator.plan.grid_plan import Plan, make_plan
from orchestrator.run.driver import Driver
from orchestrator.run.outcomes import Clock
from orchestrator.run.progress import Progress
from orchestrator.spec.recipes import full
from orchestrator.spec.specification import GridSpec
from tasks.executors import on_ray
from tasks.executors.on_ray import RayExecutor
from tasks.node import TRAINING
from tasks.nodes import dispatch
from tasks.record import Record
from tasks.store.store import Store
from tests.bench.measure import Comparison, Effort, Target, side_by_side
from tests.bench.resume import _again, _here, _import_torch, _in_a_new_process
from tests.bench.surroundings import as_in_a_node, private_ray, private_surroundings
from tests.chaos import grids
from tests.chaos.stub import SECONDS, STUBS, StubWorker, seconds

IDEAL, OWN, DRIVEN = (
    "ideal: longest path or work / workers",
    "nodes' own seconds / workers",
    "driven to the end",
)
IMPORTS, RESUMED = "python -c 'import torch'", "run, nothing left"
WORKERS = 2


def makespan(effort: Effort) -> list[Comparison]:
    """A grid whose nodes sleep instead of training, on two Ray workers, from the first node to the last.

    Everything else is the project's: frontier, messages, commits with their fsync, evaluations that read their
    model's predictions, selections, weights of losers removed. The ideal knows no overhead and no idle worker;
    the nodes' own seconds are those in their rows, in which a busy machine already shows, without commits.
    Resident memory is the driver's, after a tenth of the nodes and at the end. The second table is the same
    grid, finished, asked again.
    """
    spec = grid_of(effort)
    plan = make_plan(spec)
    with private_surroundings() as folder, stub_nodes("0.002" if effort.tiny else "0.15"), as_in_a_node():
        store = Store(str(folder / "store"))
        with private_ray():
            took, memory = driven(spec, plan, store)
        found = _driven(plan, store, took, memory)
        return [found, _resumed(spec, store, folder, len(plan.nodes), effort)]


def grid_of(effort: Effort) -> GridSpec:
    """Four data sets, two networks, three ratios, eight methods, eight trials; the smallest one for tests."""
    if effort.tiny:
        return grids.small().model_copy(update={"datasets": ("cifar10",), "archs": ("resnet18",)})
    spec = full()
    return spec.model_copy(update={"search": spec.search.model_copy(update={"trials": 8})})


@contextmanager
def stub_nodes(unit: str) -> Iterator[None]:
    """Nodes of this process and of its workers sleep."""
    with (
        patch.dict(os.environ, {SECONDS: unit}),
        patch.dict(dispatch._FUNCTIONS, STUBS),
        patch.object(on_ray, "_Worker", StubWorker),
    ):
        yield


def driven(spec: GridSpec, plan: Plan, store: Store) -> tuple[float, list[float]]:
    """Seconds from the first node to the last, and the driver's memory after every node, in MiB."""
    cost, memory = CostModel(pace_of("cpu")), []
    frontier = Frontier(plan, {key: cost.work(node) for key, node in plan.nodes.items()}, done=())
    executor = RayExecutor("cpu", 1.0, WORKERS)

    def remember(_record: Record) -> None:
        if len(memory) in (0, len(plan.nodes) // 10):
            gc.collect()
        memory.append(resident())

    try:
        while len(executor.free_slots()) < WORKERS or not executor.free_tasks():
            executor.wait(1.0)
        place = make_place(spec, store.address)
        driver = Driver(spec, plan, store, place, executor, cost, Clock(), remember)
        with Path(os.devnull).open("w") as nowhere, Progress(Console(file=nowhere), frontier) as show:
            start = time.perf_counter()
            summary = driver.run(frontier, show)
            took = time.perf_counter() - start
    finally:
        executor.close()
    assert summary.computed == len(plan.nodes)
    gc.collect()
    return took, [*memory, resident()]


def ideal(plan: Plan) -> float:
    """Seconds without any overhead: the work over the workers, but no less than the longest path."""
    times = {key: seconds(n) if n.kind in TRAINING else 0.0 for key, n in plan.nodes.items()}
    path: dict[str, float] = {}
    for key, node in plan.nodes.items():
        path[key] = times[key] + max((path[parent] for parent in node.parents), default=0.0)
    return max(sum(times.values()) / WORKERS, *path.values())


def resident() -> float:
    """Resident memory of this process, MiB; 0 where it cannot be told."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
    except OSError:
        return 0.0


def _driven(plan: Plan, store: Store, took: float, memory: list[float]) -> Comparison:
    least, training = ideal(plan), [key for key, n in plan.nodes.items() if n.kind in TRAINING]
    own = sum(m.record.node_seconds or 0.0 for m in store.manifests(training).values()) / WORKERS
    beyond = 1000 * (took - least) * WORKERS / len(plan.nodes)
    case = (
        f"{len(plan.cells)} cells, {len(plan.nodes):,} nodes, {len(training):,} of them training, {WORKERS} workers; "
        f"{beyond:.1f} ms of a worker beyond the ideal per node; "
        f"memory {memory[len(memory) // 10]:.0f} MiB after a tenth, {memory[-1]:.0f} MiB at the end"
    )
    times = {IDEAL: [least], OWN: [own], DRIVEN: [took]}
    return Comparison("makespan", case, "grid", times, baseline=IDEAL, target=Target(DRIVEN, "ratio", 1.1))


def _resumed(spec: GridSpec, store: Store, folder: Path, count: int, effort: Effort) -> Comparison:
    file = grids.write(spec, folder)
    arguments = ["run", "--spec", str(file), "--store", store.address, "--allow-cpu"]
    arguments += ["--set", "tracking.enabled=false"]
    variants = {RESUMED: partial(_again, _here if effort.tiny else _in_a_new_process, arguments)}
    if not effort.tiny:
        variants = {IMPORTS: _import_torch} | variants
    times = side_by_side(variants, min(effort.repeats, 3), warm_ups=0)
    times = times if not effort.tiny else {IMPORTS: times[RESUMED], **times}
    target = Target(RESUMED, "seconds", 5.0)
    return Comparison("makespan", f"{count:,} nodes on a local store", "run", times, target=target)
