"""What a grid is and what is left of it: counts and expected hours, as data and on the terminal."""

import inspect
import itertools
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Console

from core.gpu import gpu_name
from orchestrator.cli.plan_tree import make_tree, shown_depth, tree_view
from orchestrator.cli.printing import say_facts, say_sentences
from orchestrator.plan import Plan, expected
from orchestrator.plan.costs import (
    CostModel,
    Device,
    Pace,
    compiled_archs,
    forecast,
    forecast_rows,
    named_pace,
    pace_here,
    pace_of,
)
from orchestrator.results import other_images
from orchestrator.spec import RECIPES, GridSpec, titles
from tasks import TRAINING, Node
from tasks.store import Store

_OBSERVED = 200  # finished trainings whose times correct the expected ones
_SPLITS = {"one": "one split", "mismatched": "the original trained on another split"}


def plan_facts(
    spec: GridSpec,
    grid: Plan,
    store: Store,
    *,
    allow_cpu: bool = False,
    workers: Sequence[int] = (),
    hardware: str | None = None,
    measure: bool = False,
) -> dict[str, Any]:
    """Cells, nodes of each kind, how many are done, and the hours that the rest takes on one worker and on more.

    workers: how many, see `forecast`. hardware: whose hours, see `chosen_pace`. measure: this machine, if it was
    not yet; a grid made for GPUs is then told in this machine's hours too.
    """
    finished = store.finished()
    pace = chosen_pace(spec, hardware, allow_cpu=allow_cpu, measure=measure)
    cost = cost_model(spec, grid, store, finished, pace)
    left = [node for key, node in grid.nodes.items() if key not in finished]
    return {
        **grid_facts(spec, grid, store, finished, cost),
        "hardware": pace.hardware,
        "here": _beside(spec, pace, left, measure=measure and hardware is None),
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
        "audit": _audit(spec, grid, finished, cost),
        "other_images": other_images(store, spec, grid, finished),
        "lists": list(spec.forget.remarks),
        "cells_done": sum(key in finished for key in grid.cells.values()),
        "trials_per_cell": sorted({grid.trials(n) for n in grid.nodes.values() if n.kind == "select"}),
        "nodes": dict(Counter(grid.counts()) + to_come),
        "done": len(grid.nodes) - len(left),
        "left": dict(Counter(node.kind for node in left) + to_come),
        "hours": round(cost.total(left) / 3600, 4),
        "hours_are": f"of one worker, {cost.pace.words}"
        + (", corrected by this store's own timings" if cost.factor != 1 else ""),
    }


def _beside(spec: GridSpec, pace: Pace, left: Sequence[Node], *, measure: bool) -> dict[str, Any] | None:
    """What the same takes on a worker of this machine, where the plan is told in another's hours."""
    device: Device = "cuda" if gpu_name() else "cpu"
    if pace.device == device or not measure or not left:
        return None
    here = pace_here(spec, device, measure=True)
    if here is None:
        return None
    hours = CostModel(here, spec.data.limit).total(left) / 3600
    return {"hours": round(hours, 2), "hours_are": f"of one worker, {here.words}"}


def chosen_pace(spec: GridSpec, hardware: str | None, *, allow_cpu: bool, measure: bool) -> Pace:
    """The pace to plan with.

    hardware: a name in the file of paces, "paper", or "here"; None is this machine, but for a grid that is made for
    GPUs where there is none: then it is the paper's. measure: train for a few seconds where this machine is unknown.
    """
    if hardware is not None and hardware != "here":
        return named_pace(hardware)
    here: Device = "cuda" if gpu_name() and spec.resources.device != "cpu" else "cpu"
    wanted = "cuda" if spec.needs_gpu and not allow_cpu and spec.resources.device != "cpu" else here
    if hardware is None and wanted != here:
        return pace_of("cuda")
    return pace_here(spec, here, measure=measure) or pace_of(here)


def cost_model(
    spec: GridSpec,
    grid: Plan,
    store: Store,
    finished: set[str],
    pace: Pace | None = None,
    *,
    allow_cpu: bool = False,
) -> CostModel:
    """Expected times, corrected by up to 200 stored ones, and expected memory, from the same rows."""
    trained = sorted(k for k in finished if k in grid.nodes and grid.nodes[k].kind in TRAINING)[:_OBSERVED]
    manifests = store.manifests(trained, broken={})
    rows = (manifest.record.model_dump() for manifest in manifests.values())
    return cost_from_rows(spec, grid, rows, pace, allow_cpu=allow_cpu)


def cost_from_rows(
    spec: GridSpec,
    grid: Plan,
    rows: Iterable[Mapping[str, Any]],
    pace: Pace | None = None,
    *,
    allow_cpu: bool = False,
) -> CostModel:
    """The same from rows at hand. pace: else as `chosen_pace` has it, without measuring."""
    pace = pace or chosen_pace(spec, None, allow_cpu=allow_cpu, measure=False)
    cost = CostModel(pace, spec.data.limit)
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
        say_sentences(console, [_about(spec)], "dim")
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
        **({"audit": facts["audit"]} if facts["audit"] else {}),
        "nodes": node_counts(facts),
        "to do": f"about {titles.duration(facts['tree'].seconds)} {facts['hours_are']}"
        if facts["left"]
        else "nothing",
        **(
            {"here": f"about {titles.duration(3600 * facts['here']['hours'])} {facts['here']['hours_are']}"}
            if facts["here"]
            else {}
        ),
        **forecast_rows(facts),
        **({"images": "; ".join(facts["other_images"])} if facts["other_images"] else {}),
        **({"lists": "; ".join(facts["lists"])} if facts["lists"] else {}),
        "store": facts["store"],
    }


def node_counts(facts: Mapping[str, Any]) -> str:
    """`data 1/1 · original 0/1`: done and all, of each kind."""
    done = {kind: count - facts["left"].get(kind, 0) for kind, count in facts["nodes"].items()}
    return " · ".join(f"{kind} {done[kind]:,}/{count:,}" for kind, count in facts["nodes"].items())


def _about(spec: GridSpec) -> str:
    """The first line of what a recipe says about itself; once changed it is no longer that, and says in what."""
    changed = _changes(spec, RECIPES[spec.recipe]())
    if changed:
        return f"{spec.recipe} with changes in {', '.join(changed)}"
    return (inspect.getdoc(RECIPES[spec.recipe]) or "").partition("\n")[0]


def _changes(spec: GridSpec, recipe: GridSpec) -> list[str]:
    """The fields that make another grid of a recipe; where things lie and who works on them do not."""
    ours, theirs = (one.model_dump(exclude=_ELSEWHERE) for one in (spec, recipe))
    return [name for name in ours if ours[name] != theirs[name]]


_ELSEWHERE: dict[str, Any] = {
    "tracking": True,
    "resources": True,
    "keep": True,
    "data": {"root", "cache", "download"},
}


def _forgetting(spec: GridSpec) -> str:
    """`10, 30, 50 % at random`, `class 0, 3`, `list customer.txt`, or several of them."""
    shares = f"{', '.join(f'{100 * ratio:g}' for ratio in spec.ratios)} % at random" if spec.ratios else ""
    whole = f"class {', '.join(map(str, spec.classes))}" if spec.classes else ""
    lists = f"list {', '.join(each.name for each in spec.forget.list)}" if spec.forget.list else ""
    return " and ".join(part for part in (shares, whole, lists) if part)


def _audit(spec: GridSpec, grid: Plan, finished: set[str], cost: CostModel) -> str:
    """`16 models of each method and of Retrain, seed 1: 75 of 75 shadows to train, 12.3 min`; nothing without one."""
    if not grid.audits:
        return ""
    shadows = [node for node in grid.nodes.values() if "shadow" in node.inputs]
    left = [node for node in shadows if node.key not in finished]
    seeds = f"seed {', '.join(map(str, spec.audited_seeds))}"
    hours = f", {titles.duration(cost.total(left))}" if left else ""
    return (
        f"{spec.audit.models} models of each method and of Retrain, {seeds}: {len(left):,} of {len(shadows):,} shadows"
        f" to train{hours}"
    )


def _search(spec: GridSpec, trials: list[int]) -> str:
    """The budget: the same number of trials for every method, unless all that one searches is fixed."""
    count = " or ".join(map(str, trials)) or "no"
    noun = "trial" if trials == [1] else "trials"
    return f"{spec.search.mode}, {count} {noun} per method and cell, selected on {spec.selects_on} figures"
