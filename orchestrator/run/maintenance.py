"""Care of a store between nodes: what is broken is set aside, what lost a selection is removed."""

import os
import time
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from core.checkpoint import WEIGHTS
from orchestrator.plan import Plan
from orchestrator.results import merged_files, read_rows, write_merged
from tasks import Node, Record
from tasks.store import Corrupt, Store, remove_silent

_LEFT = 3600.0  # seconds; a write takes a few, or at most the minute for which it is tried again


def quarantine_broken(store: Store, keys: Collection[str]) -> list[str]:
    """Sets aside finished nodes whose manifest or files are broken; one line for each.

    Sizes are compared here, for all files in one listing; contents when a file is read.
    """
    sizes = store.file_sizes()
    broken: dict[str, Corrupt] = {}
    for key, manifest in store.manifests(keys, broken).items():
        for name, expected in manifest.files.items():
            found = sizes.get(f"{key}/{name}")
            if name not in manifest.removed and found != expected["bytes"]:
                broken[key] = Corrupt(key, name, f"has {found or 0} of {expected['bytes']} bytes")
    linked = [key for key in keys if key not in broken and store.is_link(f"artifacts/{key}")]
    broken |= {key: Corrupt(key, "artifacts folder", "is a link out of the store") for key in linked}
    for key in broken:
        store.quarantine(key)
    return [f"quarantined, will be computed again: {broken[key]}" for key in sorted(broken)]


def readable_failures(store: Store) -> tuple[dict[str, Record], list[str]]:
    """The failed nodes; what is no failure among their files goes to quarantine/, with a line for each."""
    broken: dict[str, str] = {}
    found = store.failures(broken)
    for name in broken:
        store.set_aside(name)
    said = "cannot be read and has moved to quarantine/, its node is tried again"
    return found, [f"{name} {said} ({why:.120})" for name, why in sorted(broken.items())]


def remove_leftovers(store: Store) -> None:
    """Removes what killed workers left: words of nodes at work, and of files they had begun, untouched for an hour."""
    remove_silent(store)
    if not store.local:
        return  # an object store shows nothing of a write before its end
    for folder, _, names in os.walk(store.root):  # follows no links
        for path in (Path(folder, name) for name in names if name.startswith(".")):
            with suppress(FileNotFoundError):  # another process may have finished it meanwhile
                if path.suffix in (".tmp", ".new") and time.time() - path.lstat().st_mtime > _LEFT:
                    path.unlink()


def compact(store: Store) -> tuple[int, int]:
    """Merges the rows of finished nodes into one file; returns how many it holds and how many parts it replaced.

    Broken parts are repaired on the way. Readers may be at work meanwhile, and one that is cut off anywhere leaves
    every row where it is found; drivers are kept out by the lease, which the caller holds. Rows of nodes that are
    not finished (failures, nodes to be computed again) stay parts.
    """
    before, finished = merged_files(store), store.finished()
    rows = [row for row in read_rows(store)[0] if row["key"] in finished and row["status"] == "done"]
    parts = {f"{row['key']}.parquet" for row in rows}.intersection(store.names("parts"))
    name = write_merged(store, rows) if rows else None
    # Older files before the parts: of a node computed anew they hold an outdated row, which its part hides.
    store.remove_files(old for old in before if old != name)
    store.remove_files(f"parts/{part}" for part in sorted(parts))
    return len(rows), len(parts)


def keep_selected_only(store: Store, plan: Plan, select: Node) -> str | None:
    """Removes the weights of a cell's losing trials; their predictions stay.

    A trial that another selection in this store chose is kept. Returns the chosen trial's key if its own
    weights are gone because an earlier selection, over other trials, had dropped them. Leaves everything where a
    manifest is broken meanwhile: the next run finds that.
    """
    with suppress(Corrupt):
        return _keep_selected_only(store, plan, select)
    return None


def _keep_selected_only(store: Store, plan: Plan, select: Node) -> str | None:
    chosen = store.manifest(select.key).record.model
    if chosen not in plan.nodes:
        raise Corrupt(select.key, "manifest", "names a model that is no node of this grid")
    store.keep(chosen)
    kept = store.kept()
    finished = store.finished()
    for evaluation in plan.evaluations(select):
        trial = evaluation.parents[0]
        if trial not in kept and trial in finished and plan.nodes[trial].kind == "trial":
            store.drop_file(trial, WEIGHTS)
    return chosen if WEIGHTS in store.manifest(chosen).removed else None
