"""A node of the plan: one piece of work, named by everything that can change its result."""

import hashlib
import json
from dataclasses import dataclass, field
from typing import Any, Literal

from core.data import LIST

Kind = Literal[
    "data", "original", "retrain", "trial", "evaluate", "search", "select", "score", "audit", "evaluate_export"
]  # fmt: skip

# A stage's revision is part of its nodes' keys: raise it when a code change makes old results incomparable.
# (A method has a revision of its own, in core.unlearn.)
REVISIONS: dict[Kind, int] = {
    "data": 1,
    "original": 1,
    "retrain": 1,
    "trial": 1,
    "evaluate": 1,
    "search": 1,
    "select": 1,
    "score": 1,
    "audit": 1,
    "evaluate_export": 1,
}

# Nodes that train run on accelerator slots, the others are short CPU work.
TRAINING: frozenset[Kind] = frozenset({"original", "retrain", "trial"})


@dataclass(frozen=True)
class Node:
    """kind, key (64 hex digits), keys of the nodes it reads, and its inputs as JSON values.

    label: what people call its method where `inputs` only have the plain name; no part of the key.
    head_start: epochs that an earlier part of the same trial has behind it; no part of the key.
    """

    kind: Kind
    key: str
    parents: tuple[str, ...]
    inputs: dict[str, Any] = field(hash=False)
    label: str = field(default="", compare=False)
    head_start: int = field(default=0, compare=False)

    @property
    def affinity(self) -> tuple[str, str, str]:
        """Nodes of one affinity share data set, network and compiled code, and like the same worker."""
        get = self.inputs.get
        return str(get("dataset")), str(get("arch")), str(get("quant"))

    @property
    def words(self) -> str:
        """What the node is, for a person: `trial cifar10 resnet18 4w4a random 0.1 qmul lr 0.012 seed 1`."""
        i = self.inputs
        parts = [
            self.kind,
            i.get("dataset"),
            i.get("arch"),
            i.get("quant"),
            i.get("scenario"),
            f"{i['amount']:g}" if "amount" in i else None,
        ]
        method = self.label or (None if self.kind in ("original", "retrain") else i.get("method"))
        parts += [method, i.get("metric"), i.get("tried"), f"to epoch {i['until']}" if "until" in i else None]
        if "shadow" in i:
            parts.append(f"shadow {i['shadow']['number']}")
        seed = i.get("seed")
        return " ".join(str(p) for p in parts if p not in (None, "")) + (
            "" if seed is None else f" seed {seed}"
        )


def canonical(value: object) -> bytes:
    """JSON with sorted keys and no spaces; the same bytes for the same value on every machine."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def make_node(
    kind: Kind, parents: tuple[str, ...], inputs: dict[str, Any], label: str = "", head_start: int = 0
) -> Node:
    """A node with its key, at its stage's present revision."""
    key = _key(kind, parents, inputs, REVISIONS[kind])
    return Node(kind, key, parents, inputs, label, head_start)


def whole_trial(node: Node) -> str:
    """The key of a trial run to its end, from that of any part of it, which has `until` among its inputs."""
    inputs = {name: value for name, value in node.inputs.items() if name != "until"}
    return make_node(node.kind, node.parents, inputs).key


def named_parents(node: Node) -> tuple[str, ...]:
    """The parents in a node's key: a selection's from a search also reads what that came to."""
    return node.parents[:2] if node.kind == "select" and "search" in node.inputs else node.parents


def revision_of(node: Node) -> int | None:
    """The revision of its stage that a node was made at, present or past; None if it is no revision known here."""
    for revision in range(REVISIONS[node.kind], 0, -1):
        if _key(node.kind, named_parents(node), node.inputs, revision) == node.key:
            return revision
    return None


def _key(kind: Kind, parents: tuple[str, ...], inputs: dict[str, Any], revision: int) -> str:
    """SHA-256 over kind, revision, inputs and the parents' keys; of a forget list the rows, and not its name."""
    if str(inputs.get("scenario")).startswith(LIST):
        inputs = {**inputs, "scenario": LIST}
    identity = {"kind": kind, "revision": revision, "inputs": inputs, "parents": parents}
    return hashlib.sha256(canonical(identity)).hexdigest()
