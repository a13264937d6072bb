"""How long a large grid takes to plan."""

from orchestrator.plan.costs.estimate import CostModel
from orchestrator.plan.costs.paces import pace_of
from orchestrator.plan.frontier import Frontier
from orchestrator.plan.grid_plan import make_plan
from orchestrator.spec.recipes import full
from orchestrator.spec.specification import GridSpec
from tests.bench.measure import Comparison, Effort, Target, side_by_side

PLAN, READY = "make_plan", "… cost model, frontier, first node"
LIMIT = 2.0  # seconds


def planning(effort: Effort) -> list[Comparison]:
    """From a grid to its content-addressed nodes, and on to the first node that could be handed out.

    The grid is the paper's with more seeds: a little over 10,000 nodes, then a little over 10,000 cells.
    """
    return [_planned(effort, seeds) for seeds in ((1,) if effort.tiny else (4, 53))]


def _planned(effort: Effort, seeds: int) -> Comparison:
    spec = full().model_copy(update={"seeds": tuple(range(seeds))})
    plan = make_plan(spec)
    nodes, cells = len(plan.nodes), len(plan.cells)
    variants = {PLAN: lambda: make_plan(spec), READY: lambda: first_node(spec)}
    seconds = side_by_side(variants, effort.repeats if nodes < 50_000 else min(effort.repeats, 3))
    return Comparison(
        "planning",
        f"recipe full, {seeds} seeds: {cells:,} cells, {nodes:,} nodes",
        "plan",
        seconds,
        items=nodes,
        item="nodes",
        target=Target(PLAN, "seconds", LIMIT),
    )


def first_node(spec: GridSpec) -> str:
    """What a run does before its first node starts, on an empty store: the key of that node."""
    plan, cost = make_plan(spec), CostModel(pace_of("cuda"))
    frontier = Frontier(plan, {key: cost.work(node) for key, node in plan.nodes.items()}, done=())
    node = frontier.next_task(float("inf"))
    assert node is not None
    return node.key
