"""What a grid is and what is left of it: counts and expected hours, as data and on the terminal."""

import inspect
from collections import Counter
from collections.abc import Sequence
from typing import Any

import torch
from rich.console import Console

from orchestrator import words
from orchestrator.compiling import compiled_archs
from orchestrator.cost import CostModel
from orchestrator.forecast import forecast, forecast_rows
from orchestrator.paces import pace_of
from orchestrator.plan import Plan
from orchestrator.recipes import RECIPES
from orchestrator.searches import expected
from orchestrator.spec import GridSpec
from tasks.node import TRAINING
from tasks.store import Store

_SPLITS = {"one": "one split", "mismatched": "the original trained on another split"}


def plan_facts(
    spec: GridSpec, grid: Plan, store: Store, *, allow_cpu: bool = False, workers: Sequence[int] = ()
) -> dict[str, Any]:
    """Cells, nodes of each kind, how many are done, and the hours that the rest takes on one worker and on more.

    workers: how many, see `forecast`.
    """
    finished = store.finished()
    cost = cost_model(spec, grid, store, finished, allow_cpu=allow_cpu)
    left = [node for key, node in grid.nodes.items() if key not in finished]
    parts = sum(count for node in left if node.kind == "search" for count, _ in expected(node))
    to_come = Counter({"trial": parts, "evaluate": parts})
    return {
        "recipe": spec.recipe,
        "store": store.uri,
        "cells": len(grid.cells),
        "trials_per_cell": sorted({grid.trials(n) for n in grid.nodes.values() if n.kind == "select"}),
        "nodes": dict(Counter(grid.counts()) + to_come),
        "done": len(grid.nodes) - len(left),
        "left": dict(Counter(node.kind for node in left) + to_come),
        "hours": round(cost.total(left) / 3600, 2),
        "hours_are": f"of one worker, {cost.pace.words}"
        + (", corrected by this store's own timings" if cost.factor != 1 else ""),
        "compiled": sorted(compiled_archs(spec, grid, cost)),
        **forecast(grid, cost, finished, workers),
    }


def cost_model(
    spec: GridSpec, grid: Plan, store: Store, finished: set[str], *, allow_cpu: bool = False
) -> CostModel:
    """Expected times, corrected by up to 200 stored ones, and expected memory, from the same rows.

    They are a GPU's if there is one, or if the grid is made for one and nobody insists on CPUs.
    """
    made_for_gpu = spec.needs_gpu and not allow_cpu
    gpu = spec.resources.device != "cpu" and (made_for_gpu or torch.cuda.is_available())
    cost = CostModel(pace_of("cuda" if gpu else "cpu"), spec.data.limit)
    trained = [k for k in finished if k in grid.nodes and grid.nodes[k].kind in TRAINING]
    for key, manifest in store.manifests(sorted(trained)[:200], broken={}).items():
        cost.observe(grid.nodes[key], manifest.record.node_seconds or 0.0)
        cost.memory.observe(grid.nodes[key], manifest.record.peak_memory)
    return cost


def print_plan(spec: GridSpec, facts: dict[str, Any], console: Console) -> None:
    """The facts for a person."""
    rows = {"recipe": _about(spec)} if spec.recipe in RECIPES else {}
    rows |= {
        "datasets": ", ".join(spec.datasets),
        "networks": ", ".join(f"{a} {'/'.join(q.label for q in spec.quant_specs(a))}" for a in spec.archs),
        "forgetting": _forgetting(spec),
        "methods": ", ".join(spec.methods),
        "seeds": ", ".join(map(str, spec.seeds)),
        **({"compiled": ", ".join(facts["compiled"])} if facts["compiled"] else {}),
        "protocol": f"{spec.protocol}, {_SPLITS[spec.splits]}",
        "search": _search(spec, facts["trials_per_cell"]),
        "cells": str(facts["cells"]),
        "nodes": " · ".join(
            f"{kind} {count - facts['left'].get(kind, 0)}/{count}" for kind, count in facts["nodes"].items()
        ),
        "to do": f"about {words.duration(facts['hours'] * 3600)} {facts['hours_are']}",
        **forecast_rows(facts),
        "store": facts["store"],
    }
    console.print(f"grid {spec.recipe}", style="bold")
    for name, text in rows.items():
        console.print(f"  {name:<11}{text}", highlight=False, markup=False, soft_wrap=True)


def _about(spec: GridSpec) -> str:
    """The first line of what a recipe says about itself."""
    return (inspect.getdoc(RECIPES[spec.recipe]) or "").partition("\n")[0]


def _forgetting(spec: GridSpec) -> str:
    """`10, 30, 50 % at random`, or `class 0, 3`."""
    if spec.classes:
        return f"class {', '.join(map(str, spec.classes))}"
    return f"{', '.join(f'{100 * ratio:g}' for ratio in spec.ratios)} % at random"


def _search(spec: GridSpec, trials: list[int]) -> str:
    """The budget: the same number of trials for every method, unless all that one searches is fixed."""
    count = " or ".join(map(str, trials)) or "no"
    noun = "trial" if trials == [1] else "trials"
    return f"{spec.search.mode}, {count} {noun} per method and cell, selected on {spec.selects_on} figures"
