"""Rows that an older revision of a stage or method made: what stands in a store beside a plan's own rows.

A raised revision gives nodes new keys, and those that read them too. The rows under the old keys stay in the store;
they are told from rows of other grids by what their manifests say they were made of.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from orchestrator.plan import Plan
from orchestrator.results.parquet import Row
from orchestrator.spec import titles
from tasks import REVISIONS, Node, named_parents, revision_of
from tasks.nodes import COORDINATES
from tasks.store import Store

_SHOWN = 12  # values of an axis that are listed
_METHOD = "method_revision"


@dataclass(frozen=True)
class Older:
    """A finished row outside the plan. now: the key of the plan's node that takes its place.

    causes: which revisions were raised since, its own and those of what it was made from.
    """

    row: Row
    now: str
    causes: frozenset[str]


def find_older(store: Store, plan: Plan, rows: Iterable[Row]) -> dict[str, Older]:
    """The older rows by key, in the plan's order.

    An older row was made as a node of the plan is, its parents likewise, but for revisions lower than today's.
    Rows of other grids are none, nor are failures, which have no manifest. Reads the manifests of those rows
    outside the plan whose coordinates are a node's.
    """
    outside = [row for row in rows if row["key"] not in plan.nodes and row["status"] == "done"]
    if not outside:
        return {}
    search = _Search(plan, outside)
    return search.older(store.nodes(search.candidates)) if search.candidates else {}


def causes_text(older: Iterable[Older]) -> str:
    """All the revisions that were raised: `trial revision 1, now 2; method qmul revision 1, now 2`."""
    return "; ".join(sorted({cause for one in older for cause in one.causes}))


def notice(older: Mapping[str, Older]) -> str:
    """One line for the terminal; empty where no row is older."""
    if not older:
        return ""
    rows = f"{len(older):,} rows in this store were" if len(older) > 1 else "1 row in this store was"
    return f"{rows} made by an older revision ({causes_text(older.values())}) and left out of the tables"


def groups(older: Mapping[str, Older]) -> list[tuple[str, str, str]]:
    """What was raised, how many rows of which kind are older by it, and what they are about."""
    found: dict[str, list[Row]] = {}
    for one in older.values():
        found.setdefault(causes_text([one]), []).append(one.row)
    return [(causes, _counts(rows), _about(rows)) for causes, rows in sorted(found.items())]


def _counts(rows: Sequence[Row]) -> str:
    counts = Counter(row["kind"] for row in rows)
    return ", ".join(f"{counts[kind]:,} {kind}" for kind in REVISIONS if counts[kind])


def _about(rows: Sequence[Row]) -> str:
    """The rows' coordinates: `CIFAR-10 · ResNet-18 · 4w4a · random 10 % · FT, Q-MUL · seed 1`."""
    axes = [
        [titles.title(row["dataset"]) for row in rows if row["dataset"]],
        [titles.title(row["arch"]) for row in rows if row["arch"]],
        [row["quant"] for row in rows if row["quant"]],
        [titles.scenario(row["scenario"], row["amount"]) for row in rows if row["scenario"]],
        [titles.title(row["method"]) for row in rows if row["method"]],
        [f"seed {row['seed']}" for row in rows if row["seed"] is not None],
    ]
    return " · ".join(_listed(list(dict.fromkeys(values))) for values in axes if values)


def _listed(values: Sequence[str]) -> str:
    more = f" and {len(values) - _SHOWN} more" if len(values) > _SHOWN else ""
    return ", ".join(values[:_SHOWN]) + more


def _coordinates(kind: str, values: Mapping[str, Any]) -> tuple[Any, ...]:
    """The same for a node's inputs and for its row; what a selection tried is in its row alone."""
    return (kind, *(values.get(name) for name in COORDINATES if (kind, name) != ("select", "tried")))


class _Search:
    """Finds the plan's node for each old one, parents first."""

    def __init__(self, plan: Plan, outside: list[Row]) -> None:
        """outside: all finished rows outside the plan. candidates: those about the plan's nodes, by key."""
        self.plan, self.outside = plan, {row["key"] for row in outside}
        self.alike: dict[tuple[Any, ...], list[Node]] = {}
        for node in plan.nodes.values():
            self.alike.setdefault(_coordinates(node.kind, node.inputs), []).append(node)
        at = {row["key"]: (_coordinates(row["kind"], row), row) for row in outside}
        self.candidates = {key: row for key, (where, row) in at.items() if where in self.alike}
        self.nodes: dict[str, Node] = {}
        self.found: dict[str, Older | None] = {}

    def older(self, nodes: dict[str, Node]) -> dict[str, Older]:
        """Every candidate that has a node in the plan, in its order. nodes: them as their manifests describe them."""
        self.nodes, self.found = nodes, {}
        place = {key: number for number, key in enumerate(self.plan.nodes)}
        found = [(place[one.now], key, one) for key in nodes if (one := self._older(key)) is not None]
        return {key: one for _, key, one in sorted(found, key=lambda entry: entry[:2])}

    def _older(self, key: str) -> Older | None:
        if key not in self.found:
            self.found[key] = self._compared(self.nodes[key]) if key in self.nodes else None
        return self.found[key]

    def _compared(self, node: Node) -> Older | None:
        row = self.candidates[node.key]
        alike = self.alike[_coordinates(row["kind"], row)]
        now = next((one for one in alike if self._same(node, one)), None)
        own = None if now is None else _own_causes(node, now)
        if now is None or own is None:
            return None
        parents = [one for parent in named_parents(node) if (one := self._older(parent)) is not None]
        causes = own.union(*(parent.causes for parent in parents))
        return Older(row, now.key, frozenset(causes)) if causes else None

    def _same(self, old: Node, now: Node) -> bool:
        """Whether both are made of the same, revisions aside."""
        before, after = named_parents(old), named_parents(now)
        if _without_revision(old) != _without_revision(now) or len(before) != len(after):
            return False
        stands_for = [self._stands_for(parent) for parent in before]
        if old.kind != "select":
            return stands_for == list(after)
        # trials that failed have left nothing to look at, and a selection passes them over
        pairs = zip(before, stands_for, after, strict=True)
        agree = [here == there or (here is None and key not in self.outside) for key, here, there in pairs]
        return all(agree) and stands_for[0] is not None and any(stands_for[1:])

    def _stands_for(self, key: str) -> str | None:
        if key in self.plan.nodes:
            return key
        older = self._older(key)
        return older.now if older else None


def _without_revision(node: Node) -> dict[str, Any]:
    return {name: value for name, value in node.inputs.items() if name != _METHOD}


def _own_causes(old: Node, now: Node) -> set[str] | None:
    """Which of its own revisions were raised; None if one of them is not of the past."""
    made, causes = revision_of(old), set()
    if made is None:
        return None
    if made < REVISIONS[old.kind]:
        causes.add(f"{old.kind} revision {made}, now {REVISIONS[old.kind]}")
    before, after = (node.inputs.get(_METHOD) for node in (old, now))
    if before != after:
        if before is None or after is None or before > after:
            return None
        causes.add(f"method {old.inputs['method']} revision {before}, now {after}")
    return causes
