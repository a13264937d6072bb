"""Whose training is compiled: decided by the grid, never by how many workers there are."""

from collections.abc import Iterable

from orchestrator.plan.costs.estimate import CostModel
from orchestrator.plan.grid_plan import Plan
from orchestrator.spec import GridSpec
from tasks import Node

_WORKERS = 64  # each compiles for itself; a number of its own, so that a result does not depend on theirs


def compiled_archs(spec: GridSpec, grid: Plan, cost: CostModel) -> frozenset[str]:
    """The architectures that `resources.compile` says, or, where it says auto, those that gain by it."""
    if spec.resources.compile == "auto":
        return frozenset(arch for arch in spec.archs if _pays(arch, grid, cost))
    return frozenset(spec.archs if spec.resources.compile == "on" else ())


def _pays(arch: str, grid: Plan, cost: CostModel) -> bool:
    """Whether training saves more in the whole grid than compiling costs on many workers.

    The whole grid, finished or not: a grid that goes on must not change its mind.
    """
    network = cost.pace.networks.get(arch)
    if network is None or network.compiling is None:
        return False
    measured = network.compiling
    nodes = [node for node in _trainings(grid) if node.inputs["arch"] == arch]
    saved = sum(cost.work(node) for node in nodes) * (1 - measured.ratio)
    graphs = {tuple(node.inputs[name] for name in ("dataset", "quant", "width")) for node in nodes}
    return saved > _WORKERS * len(graphs) * measured.seconds


def _trainings(grid: Plan) -> Iterable[Node]:
    """What trains; of searches what they will, not what they have come to."""
    kinds = {"original", "retrain", "search" if grid.searches else "trial"}
    return (node for node in grid.nodes.values() if node.kind in kinds)
