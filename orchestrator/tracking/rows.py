"""Rows as the mirror reads them, and what a row means beside those of the same problem."""

from orchestrator.plan import Cell, Plan
from tasks import Node, Record
from tasks.store import Corrupt, Manifest, Store


class Rows:
    """Rows by key: those at hand, else as the store's manifests hold them."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._held: dict[str, Record] = {}
        self._data: dict[str, Manifest | None] = {}

    def hold(self, rows: dict[str, Record]) -> None:
        """Keeps all rows of a grid at hand; `release` ends that."""
        self._held = rows

    def release(self) -> None:
        """Lets go of what was held."""
        self._held = {}

    def add(self, record: Record) -> None:
        """Keeps an evaluation at hand: its cell's selection needs it, and it is small."""
        if record.kind == "evaluate":
            self._held[record.key] = record

    def find(self, key: str | None) -> Record | None:
        """The row of a finished node; None where there is none."""
        if key is None:
            return None
        if key in self._held:
            return self._held[key]
        found = self._manifest(key)
        return found.record if found else None

    def data(self, key: str) -> Manifest | None:
        """What a data node left, read once."""
        if key not in self._data:
            self._data[key] = self._manifest(key)
        return self._data[key]

    def _manifest(self, key: str) -> Manifest | None:
        try:
            return self._store.manifest(key)
        except Corrupt:
            return None


def cell_of(plan: Plan, node: Node) -> Node | None:
    """The selection of a trial's cell, from the trial's evaluation; None for what is no trial."""
    if node.kind != "evaluate":
        return None
    holder = plan.cells.get(Cell(*(node.inputs[axis] for axis in Cell._fields)))
    return plan.nodes[holder] if holder and plan.nodes[holder].kind == "select" else None


def evaluations(plan: Plan, model: Node) -> list[Node]:
    """What evaluates a model; searches add to the plan while they run."""
    return [n for n in list(plan.nodes.values()) if n.kind == "evaluate" and n.parents[0] == model.key]


def data_of(plan: Plan, node: Node) -> str:
    """The key of the data node that everything about a node goes back to."""
    while node.kind != "data":
        node = plan.nodes[node.parents[0]]
    return node.key


def references(plan: Plan) -> dict[Cell, str]:
    """Retrain's evaluation by problem: what every model of the problem is measured against."""
    found = {}
    for node in plan.nodes.values():
        if node.kind == "evaluate" and node.inputs["method"] == "retrain":
            found[problem_of(node)] = node.key
    return found


def problem_of(node: Node) -> Cell:
    """The coordinates that a node shares with its problem's Retrain."""
    return Cell(*(node.inputs[axis] for axis in Cell._fields)).problem
