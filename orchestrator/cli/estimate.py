"""What a grid is and what is left of it: counts and expected hours, as data and on the terminal."""

import inspect
import itertools
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Console

from core.gpu import gpu_name
from orchestrator.cli.plan_tree import make_tree, shown_depth, tree_view
from orchestrator.cli.printing import say_facts
from orchestrator.plan import Plan, expected
from orchestrator.plan.costs import CostModel, compiled_archs, forecast, forecast_rows, pace_of
from orchestrator.spec import RECIPES, GridSpec, titles
from tasks import TRAINING
from tasks.store import Store

_OBSERVED = 200  # finished trainings whose times correct the expected ones
_SPLITS = {"one": "one split", "mismatched": "the original trained on another split"}


def plan_facts(
    spec: GridSpec, grid: Plan, store: Store, *, allow_cpu: bool = False, workers: Sequence[int] = ()
) -> dict[str, Any]:
    """Cells, nodes of each kind, how many are done, and the hours that the rest takes on one worker and on more.

    workers: how many, see `forecast`.
    """
    finished = store.finished()
    cost = cost_model(spec, grid, store, finished, allow_cpu=allow_cpu)
    return {
        **grid_facts(spec, grid, store, finished, cost),
        "compiled": sorted(compiled_archs(spec, grid, cost)),
        **forecast(grid, cost, finished, workers),
        "tree": make_tree(spec, grid, cost, finished),
    }


def grid_facts(
    spec: GridSpec, grid: Plan, store: Store, finished: set[str], cost: CostModel
) -> dict[str, Any]:
    """What `plan` and `status` both say: cells, nodes, how many are done, hours of one worker for the rest."""
    left = [node for key, node in grid.nodes.items() if key not in finished]
    parts = sum(count for node in left if node.kind == "search" for count, _ in expected(node))
    to_come = Counter({"trial": parts, "evaluate": parts})
    return {
        "recipe": spec.recipe,
        "store": store.uri,
        "cells": len(grid.cells),
        "left_out": grid.omissions,
        "cells_done": sum(key in finished for key in grid.cells.values()),
        "trials_per_cell": sorted({grid.trials(n) for n in grid.nodes.values() if n.kind == "select"}),
        "nodes": dict(Counter(grid.counts()) + to_come),
        "done": len(grid.nodes) - len(left),
        "left": dict(Counter(node.kind for node in left) + to_come),
        "hours": round(cost.total(left) / 3600, 2),
        "hours_are": f"of one worker, {cost.pace.words}"
        + (", corrected by this store's own timings" if cost.factor != 1 else ""),
    }


def cost_model(
    spec: GridSpec, grid: Plan, store: Store, finished: set[str], *, allow_cpu: bool = False
) -> CostModel:
    """Expected times, corrected by up to 200 stored ones, and expected memory, from the same rows."""
    trained = sorted(k for k in finished if k in grid.nodes and grid.nodes[k].kind in TRAINING)[:_OBSERVED]
    manifests = store.manifests(trained, broken={})
    rows = (manifest.record.model_dump() for manifest in manifests.values())
    return cost_from_rows(spec, grid, rows, allow_cpu=allow_cpu)


def cost_from_rows(
    spec: GridSpec, grid: Plan, rows: Iterable[Mapping[str, Any]], *, allow_cpu: bool = False
) -> CostModel:
    """The same from rows at hand.

    They are a GPU's if there is one, or if the grid is made for one and nobody insists on CPUs.
    """
    made_for_gpu = spec.needs_gpu and not allow_cpu
    gpu = spec.resources.device != "cpu" and (made_for_gpu or gpu_name() is not None)
    cost = CostModel(pace_of("cuda" if gpu else "cpu"), spec.data.limit)
    trained = (row for row in rows if row["key"] in grid.nodes and row["status"] == "done")
    for row in itertools.islice((row for row in trained if row["kind"] in TRAINING), _OBSERVED):
        cost.observe(grid.nodes[row["key"]], row["node_seconds"] or 0.0)
        cost.memory.observe(grid.nodes[row["key"]], row["peak_memory"])
    return cost


def print_plan(spec: GridSpec, facts: dict[str, Any], console: Console) -> None:
    """The grid as a tree, and the facts that hold for all of it."""
    tree = facts["tree"]
    depth = shown_depth(tree)
    if spec.recipe in RECIPES:
        console.print(_about(spec), style="dim", highlight=False, markup=False)
        console.print()
    console.print(tree_view(tree, console.width, depth), highlight=False)
    console.print()
    say_facts(console, _plan_rows(spec, facts, depth))


def _plan_rows(spec: GridSpec, facts: dict[str, Any], depth: int) -> dict[str, str]:
    """What the tree does not say: what it is cut off above, how it is searched, and what it takes."""
    hidden = {
        "networks": (
            1,
            ", ".join(f"{a} {'/'.join(q.label for q in spec.quant_specs(a))}" for a in spec.archs),
        ),
        "forgetting": (1, _forgetting(spec)),
        "methods": (3, ", ".join(spec.methods)),
    }
    return {
        **{name: text for name, (shown, text) in hidden.items() if depth <= shown},
        **({"not in it": "; ".join(facts["left_out"])} if facts["left_out"] else {}),
        "seeds": ", ".join(map(str, spec.seeds)),
        **({"compiled": ", ".join(facts["compiled"])} if facts["compiled"] else {}),
        "protocol": f"{spec.protocol}, {_SPLITS[spec.splits]}",
        "search": _search(spec, facts["trials_per_cell"]),
        "nodes": node_counts(facts),
        "to do": f"about {titles.duration(facts['tree'].seconds)} {facts['hours_are']}"
        if facts["left"]
        else "nothing",
        **forecast_rows(facts),
        "store": facts["store"],
    }


def node_counts(facts: Mapping[str, Any]) -> str:
    """`data 1/1 · original 0/1`: done and all, of each kind."""
    done = {kind: count - facts["left"].get(kind, 0) for kind, count in facts["nodes"].items()}
    return " · ".join(f"{kind} {done[kind]:,}/{count:,}" for kind, count in facts["nodes"].items())


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
