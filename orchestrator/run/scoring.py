"""The verb `score`: registered metrics that rows lack, computed from what the store kept, without training."""

import os
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import cache

from core.errors import unknown
from core.metrics import METRICS
from core.metrics.audit import ATTACKS
from orchestrator.plan import Plan
from orchestrator.results import Row, measured_rows, record_of
from orchestrator.spec import base_name, titles
from tasks import Job, Node, Outcome, Place, Record
from tasks.executors import make_executor
from tasks.nodes import lacking_files, score_node
from tasks.store import Store

ALONE = 50  # scores that are computed before other processes would have started
COMPLETE = 4  # version of the row schema that has all figures with a column of their own


@dataclass
class Scored:
    """What scoring came to. lacking: by metric and reason, the keys that cannot be scored. failed: with their rows."""

    computed: int = 0
    lacking: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    failed: list[Record] = field(default_factory=list)


def score_store(
    store: Store,
    place: Place,
    names: Collection[str] = (),
    say: Callable[[int, int], None] = lambda _done, _of: None,
    plan: Plan | None = None,
) -> Scored:
    """Computes what the finished evaluations and selections of a store lack, of the named metrics or of all.

    Given again, it finds nothing left to do. The caller holds the store's lease. say: is told after each score how
    many of how many are done. plan: of a grid whose audits are made, too, where all their models are there; with
    names if one of them is an attack's. Raises BadInput for a name that is no metric's and no attack's.
    """
    for name in names:
        if name not in METRICS and name not in ATTACKS:
            raise unknown("metric", name, [*METRICS, *ATTACKS])
    found, todo = Scored(), list[Node]()
    finished, manifest = store.finished(), cache(store.manifest)
    if plan is not None and (not names or ATTACKS.keys() & names):
        todo += _audits(plan, finished, found)
    wanted = [name for name in names if name in METRICS] if names else list(METRICS)
    for name, row in _lacking(measured_rows(store)[0], wanted):
        node = score_node(row["key"], name)
        if node.key in finished:
            continue  # it says that there is no such figure
        if reason := lacking_files(name, record_of(row), store, manifest):
            found.lacking.setdefault(name, {}).setdefault(reason, []).append(row["key"])
        else:
            todo.append(node)
    for outcome in _outcomes(todo, replace(place, device="cpu")):
        found.computed += outcome.failure is None
        found.failed += [outcome.record] if outcome.failure else []
        say(found.computed + len(found.failed), len(todo))
    return found


def _audits(plan: Plan, finished: Collection[str], found: Scored) -> Iterator[Node]:
    """Audits that only have to be computed; those whose models are not there are told."""
    for key in plan.audits.values():
        node = plan.nodes[key]
        if key in finished:
            continue
        if missing := sum(parent not in finished for parent in node.parents):
            reason = f"{missing} of the models that it reads are missing: run the grid"
            found.lacking.setdefault("audit", {}).setdefault(reason, []).append(key)
        else:
            yield node


def _lacking(rows: Iterable[Row], names: Collection[str]) -> Iterator[tuple[str, Row]]:
    """Metrics with the rows that should say something about them and do not."""
    for row in rows:
        if row["kind"] in ("evaluate", "select") and row["status"] == "done":
            yield from ((name, row) for name in names if _lacks(row, name))


def _lacks(row: Row, name: str) -> bool:
    """A metric of outputs is a selection's, one of weights an unlearned network's, any other an evaluation's."""
    reads = METRICS[name].reads
    if (row["kind"] == "select") != (reads == "outputs"):
        return False
    if reads == "weights" and base_name(row["method"]) in (titles.ORIGINAL, "retrain"):
        return False
    if name in Record.model_fields:
        return row[name] is None and row["schema_version"] < COMPLETE
    return name not in {score["name"] for score in row["scores"] or ()}


def _outcomes(nodes: Iterable[Node], place: Place) -> Iterator[Outcome]:
    """Runs the nodes, in this process or, if they are many, on all cores."""
    left, at_work = deque(nodes), 0
    executor = make_executor("inline", "cpu", 1.0, 1, helpers=os.cpu_count() if len(left) > ALONE else 0)
    try:
        while left or at_work:
            while left and executor.free_tasks():
                executor.submit(Job(left.popleft(), place), None)
                at_work += 1
            for outcome in executor.wait(1.0):
                at_work -= 1
                yield outcome
    finally:
        executor.close()
