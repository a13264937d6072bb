"""When a plan would be done on so many workers: the driver's own order of nodes, with expected seconds for time."""

import heapq
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from orchestrator.plan.expansion import expected, parts, schedule
from orchestrator.plan.frontier import Frontier
from orchestrator.plan.grid_plan import Plan
from orchestrator.plan.trial_nodes import Search
from tasks import Node
from tasks.executors import cluster_capacity

Seconds = Mapping[str, float]  # by node
_CPUS_PER_GPU = 8.0  # of the machines imagined here; more than the CPU workers could use


@dataclass(frozen=True)
class Schedule:
    """A plan on `workers`: makespan in seconds, and the share (0-1) of it in which a worker trains."""

    workers: int
    makespan: float
    utilisation: float


def simulate(
    plan: Plan, seconds: Seconds, workers: int, cpu_workers: int, done: Collection[str] = ()
) -> Schedule:
    """Runs a plan without running it; the same numbers give the same schedule.

    Training nodes take a worker each, the others one of the CPU workers, in the order of `Frontier`, as the
    driver hands them out. Starts, messages and failures take no time. `with_searches` has to come first.
    """
    frontier = Frontier(plan, dict(seconds), done)
    slots, spare, clock, trained = list(range(workers)), cpu_workers, 0.0, 0.0
    affinity: dict[int, tuple[str, str, str]] = {}
    running: list[tuple[float, str, int]] = []  # when it ends, the node, its slot or -1
    while True:
        while slots and (node := frontier.next_training(affinity.get(slots[0]), math.inf)):
            slot = heapq.heappop(slots)
            affinity[slot] = node.affinity
            trained += seconds[node.key]
            heapq.heappush(running, (clock + seconds[node.key], node.key, slot))
        while spare and (node := frontier.next_task(math.inf)):
            spare -= 1
            heapq.heappush(running, (clock + seconds[node.key], node.key, -1))
        if not running:
            return Schedule(workers, clock, trained / (workers * clock) if clock else 1.0)
        clock, key, slot = heapq.heappop(running)
        frontier.finish(key)
        if slot < 0:
            spare += 1
        else:
            heapq.heappush(slots, slot)


def cpu_workers(workers: int, *, gpu: bool) -> int:
    """How many CPU workers a run has beside its training workers, on machines with CPUs to spare."""
    if gpu:
        machines = [{"GPU": float(workers), "CPU": _CPUS_PER_GPU * workers}]
        return cluster_capacity(machines, "cuda", 1.0, None).cpu_tasks
    return cluster_capacity([{"CPU": float(workers)}], "cpu", 1.0, None).cpu_tasks


def longest_path(plan: Plan, seconds: Seconds, done: Collection[str] = ()) -> list[Node]:
    """The chain of unfinished nodes, each needing the one before, that takes longest; no run can be shorter."""
    length: dict[str, float] = {}
    before: dict[str, str] = {}
    for key, node in plan.nodes.items():  # parents before children
        length[key] = 0.0
        if key in done:
            continue
        if node.parents:
            before[key] = max(node.parents, key=length.__getitem__)
        length[key] = seconds[key] + length.get(before.get(key, ""), 0.0)
    chain, key = list[Node](), max(length, key=length.__getitem__, default="")
    while key and key not in done:
        chain.append(plan.nodes[key])
        key = before.get(key, "")
    return chain[::-1]


def with_searches(plan: Plan, done: Collection[str]) -> Plan:
    """The plan with the parts of trials that each unfinished search is expected to come to, in its place.

    In successive halving a rung waits for all gaps of the rung before; Ray Tune runs one part of a cell at a
    time. Which trials go on is not known: it is taken to be the first ones.
    """
    waiting = {key: plan.searches[key] for key in plan.searches if key in plan.nodes and key not in done}
    replaced = waiting.keys() | set(waiting.values())
    nodes = {key: node for key, node in plan.nodes.items() if key not in replaced}
    for key, select in waiting.items():
        last = _put_parts(nodes, plan.nodes[key])
        reference = plan.nodes[select].parents[0]
        nodes[select] = replace(plan.nodes[select], parents=(reference, *last))
    for key in [key for key, node in nodes.items() if node.kind == "audit" or "shadow" in node.inputs]:
        nodes[key] = nodes.pop(key)  # behind the selections that they read
    return replace(plan, nodes=nodes)


def _put_parts(nodes: dict[str, Node], node: Node) -> tuple[str, ...]:
    """Adds a search's parts, each waiting for those before it; returns the last evaluations."""
    search, looks = Search.of(node), schedule(node)
    points = search.points(node.inputs["trials"])
    before: tuple[str, ...] = node.parents[:1]  # Retrain's evaluation, which gaps are measured from
    for rung, (count, _) in enumerate(expected(node)):
        pairs = [parts(search, point, looks[: rung + 1])[-1] for point in points[:count]]
        for trial, measured in pairs:
            nodes.setdefault(trial.key, replace(trial, parents=(*trial.parents, *before)))
            nodes.setdefault(measured.key, measured)
            if node.inputs["mode"] != "halving":
                before = (measured.key,)
        if node.inputs["mode"] == "halving":
            before = tuple(measured.key for _, measured in pairs)
    return before
