"""Care of a store between nodes: what is broken is set aside, what lost a selection is removed."""

from collections.abc import Collection

from core.checkpoint import WEIGHTS
from orchestrator.plan import Plan
from tasks.node import Node
from tasks.store import Corrupt, Store


def quarantine_broken(store: Store, keys: Collection[str]) -> list[str]:
    """Sets aside finished nodes whose manifest or files are broken; one line for each.

    Sizes are compared here, for all files in one listing; contents when a file is read.
    """
    sizes = store.file_sizes()
    warnings = []
    for key in sorted(keys):
        try:
            manifest = store.manifest(key)
            for name, expected in manifest.files.items():
                found = sizes.get(f"{key}/{name}")
                if name not in manifest.removed and found != expected["bytes"]:
                    raise Corrupt(key, name, f"has {found or 0} of {expected['bytes']} bytes")
        except Corrupt as error:
            store.quarantine(key)
            warnings.append(f"quarantined, will be computed again: {error}")
    return warnings


def keep_selected_only(store: Store, plan: Plan, select: Node) -> str | None:
    """Removes the weights of a cell's losing trials; their predictions stay.

    A trial that another selection in this store chose is kept. Returns the chosen trial's key if its own
    weights are gone because an earlier selection, over other trials, had dropped them.
    """
    chosen = store.manifest(select.key).record.model
    assert chosen is not None
    store.put(f"kept/{chosen}", b"")
    kept = set(store.names("kept"))
    finished = store.finished()
    for evaluation in select.parents[1:]:
        trial = plan.nodes[evaluation].parents[0]
        if trial not in kept and trial in finished and plan.nodes[trial].kind == "trial":
            store.drop_file(trial, WEIGHTS)
    return chosen if WEIGHTS in store.manifest(chosen).removed else None
