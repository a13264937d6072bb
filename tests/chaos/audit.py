"""What a fault cost: rows lost, rows doubled, and work done twice."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from orchestrator.plan.grid_plan import Plan
from tasks.record import from_parquet
from tasks.store.store import Store


@dataclass(frozen=True)
class Finding:
    """A fault after a grid has come to its end in spite of it.

    injected: how often it was done. lost: nodes of the plan without a whole row, manifest or file. doubled:
    rows of the report beyond one a node. recomputed: finished nodes that ran again. repeated: starts of nodes
    that a fault had stopped half-way. figures: whether every figure is that of a run without faults.
    """

    fault: str
    injected: int
    lost: int
    doubled: int
    recomputed: int
    repeated: int
    figures: bool
    seconds: float
    note: str = ""

    @property
    def clean(self) -> bool:
        """Nothing lost, doubled or changed."""
        return self.lost == self.doubled == 0 and self.figures


FIGURES = (
    "kind",
    "status",
    "fa",
    "ra",
    "ta",
    "mia",
    "va",
    "mia_validation",
    "ag",
    "ag_validation",
    "selected",
)


def rows(store: Store) -> dict[str, tuple[object, ...]]:
    """Every row's figures by key."""
    found = {}
    for name in store.names("parts"):
        (row,) = from_parquet(store.get(f"parts/{name}"))
        found[row["key"]] = tuple(row[column] for column in FIGURES)
    return found


def audit(
    fault: str,
    injected: int,
    plan: Plan,
    store: Store,
    log: Path,
    expected: dict[str, tuple[object, ...]],
    seconds: float,
    note: str = "",
) -> Finding:
    """Looks at a finished store, and at what the stub nodes wrote down while it was filled."""
    starts = [line.split() for line in log.read_text().splitlines() if line.startswith("start ")]
    again = sum(fields[2] == "again" for fields in starts)
    table = from_parquet(store.get("report/results.parquet"))
    counts = Counter(row["key"] for row in table)
    found = rows(store)
    lost = [key for key in plan.nodes if not (found.get(key) and counts[key] and _whole(store, key))]
    return Finding(
        fault,
        injected,
        len(lost),
        sum(counts.values()) - len(counts),
        again,
        len(starts) - again - len({fields[1] for fields in starts}),
        found == expected,
        seconds,
        note,
    )


def _whole(store: Store, key: str) -> bool:
    if key not in store.finished():
        return False
    manifest = store.manifest(key)
    for name in manifest.files.keys() - set(manifest.removed):
        store.read(key, name)
    return True
