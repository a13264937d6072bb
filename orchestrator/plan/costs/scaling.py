"""How long a plan takes on more workers, as data and in words: a simulated schedule for each number of them."""

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from orchestrator.plan.costs.estimate import CostModel
from orchestrator.plan.costs.simulation import cpu_workers, longest_path, simulate, with_searches
from orchestrator.plan.grid_plan import Plan
from orchestrator.spec import titles
from tasks import TRAINING, Node

DOUBLING = tuple(2**power for power in range(11))  # 1 to 1,024 workers
_AT_MOST = 50_000  # nodes simulated unasked, over all schedules: a second
_HOUR = 3600


def forecast(
    plan: Plan, cost: CostModel, done: Collection[str], workers: Sequence[int] = ()
) -> dict[str, Any]:
    """Hours on each number of workers, how busy they are, the longest path, and trials per hour on one.

    Without `workers` as many of 1, 2, 4 … 1,024 as take a second to simulate: all for a few thousand nodes, none
    for a hundred thousand.
    """
    grid = with_searches(plan, done)
    seconds = {key: cost.seconds(node) for key, node in grid.nodes.items()}
    left = [node for key, node in grid.nodes.items() if key not in done]
    asked = workers or DOUBLING[: _AT_MOST // max(len(left), 1)]
    gpu = cost.pace.device == "cuda"
    found = [simulate(grid, seconds, n, cpu_workers(n, gpu=gpu), done) for n in asked]
    path = longest_path(grid, seconds, done)
    hours = sum(seconds[node.key] for node in path) / _HOUR
    work = sum(seconds[node.key] for node in left if node.kind in TRAINING) / _HOUR
    return {
        "hours_on": {str(s.workers): round(s.makespan / _HOUR, 4) for s in found},
        "busy_on": {str(s.workers): round(s.utilisation, 4) for s in found},
        "critical_path_hours": round(hours, 4),
        "critical_path": [node.words for node in path],
        "path_limits_from": math.ceil(work / hours) if hours else 1,
        "trials_per_hour": _trials_per_hour(left, seconds),
    }


def _trials_per_hour(left: Sequence[Node], seconds: Mapping[str, float]) -> dict[str, float]:
    """Of each network, on one worker, over all methods to do; the parts of a search's trial count as one."""
    rates = {}
    trials = [node for node in left if node.kind == "trial"]
    for arch in dict.fromkeys(node.inputs["arch"] for node in trials):
        own = [node for node in trials if node.inputs["arch"] == arch]
        if begun := sum(node.head_start == 0 for node in own):
            rates[arch] = round(begun * _HOUR / sum(seconds[node.key] for node in own), 1)
    return rates


def forecast_rows(facts: Mapping[str, Any]) -> dict[str, str]:
    """The forecast for a person; nothing where nothing is left to do."""
    rows = {}
    if facts["trials_per_hour"]:
        rates = (f"{titles.title(arch)} {rate:,.0f}" for arch, rate in facts["trials_per_hour"].items())
        rows["pace"] = f"trials an hour on one worker: {' · '.join(rates)}"
    if not facts["critical_path"]:
        return rows
    schedules = [_words(n, hours, facts) for n, hours in _worth_showing(facts["hours_on"]).items()]
    rows["workers"] = " · ".join(schedules) or "too many nodes to simulate unasked: --workers 8,64 does"
    rows["limit"] = _limit(facts)
    return rows


def _words(workers: str, hours: float, facts: Mapping[str, Any]) -> str:
    """`16: 5.5 h (81 % busy)`."""
    busy = round(100 * facts["busy_on"][workers])
    return f"{int(workers):,}: {titles.duration(hours * _HOUR)}" + (f" ({busy} % busy)" if busy < 95 else "")


def _worth_showing(hours_on: Mapping[str, float]) -> dict[str, float]:
    """What was asked for; unasked, the schedules up to the last that is 1 % shorter than those on fewer workers."""
    hours = list(hours_on.values())
    if tuple(map(int, hours_on)) != DOUBLING[: len(hours_on)]:
        return dict(hours_on)
    shorter = [i for i, each in enumerate(hours) if each < 0.99 * min(hours[:i], default=math.inf)]
    return dict(list(hours_on.items())[: shorter[-1] + 1 if shorter else 0])


def _limit(facts: Mapping[str, Any]) -> str:
    path = facts["critical_path"]
    kinds = " → ".join(dict.fromkeys(words_.split()[0] for words_ in path))
    hours = titles.duration(facts["critical_path_hours"] * _HOUR)
    return (
        f"from {facts['path_limits_from']:,} workers on it is the longest path, not the work: {hours} of {kinds} "
        f"({path[-1].partition(' ')[2]})"
    )
