"""How long the report of a large grid takes."""

import tempfile

from orchestrator.plan.grid_plan import make_plan
from orchestrator.report.contents import read_grid
from orchestrator.report.writing import write_report
from orchestrator.spec.recipes import full
from orchestrator.spec.specification import GridSpec, SearchSpec
from tasks.store.store import Store
from tests.bench.measure import Comparison, Effort, Target, side_by_side
from tests.orchestrator.fake_results import Fake

READ, WHOLE = "reading the store", "… and writing page, charts and data files"
LIMIT = 10.0  # seconds


def reporting(effort: Effort) -> list[Comparison]:
    """From a store on this disk to the page with its charts, Markdown and data files; the rows are made up.

    The grid is the paper's with three seeds and eight trials: 192 cells a seed, 8,812 nodes.
    """
    with tempfile.TemporaryDirectory(prefix="report-") as folder:
        spec = _spec(tiny=effort.tiny)
        fake = Fake(Store(folder), spec, curve=10)
        fake.fill()
        plan = make_plan(spec)

        def whole() -> None:
            write_report(fake.store, spec, plan, (), read_grid(fake.store, spec, plan))

        variants = {READ: lambda: read_grid(fake.store, spec, plan), WHOLE: whole}
        seconds = side_by_side(variants, min(effort.repeats, 3))
    case = f"recipe full, {len(spec.seeds)} seeds, {spec.search.trials} trials: {len(fake.rows):,} nodes"
    return [
        Comparison(
            "reporting", case, "report", seconds, items=len(fake.rows), item="nodes",
            target=Target(WHOLE, "seconds", LIMIT),
        )
    ]  # fmt: skip


def _spec(tiny: bool) -> GridSpec:
    if tiny:
        small = {"datasets": ("cifar10",), "archs": ("resnet18",), "ratios": (0.1,)}
        return full().model_copy(update=small | {"search": SearchSpec(trials=2)})
    return full().model_copy(update={"seeds": (1, 2, 3), "search": SearchSpec(trials=8), "probe": 64})
