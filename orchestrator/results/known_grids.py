"""The grids that a store has seen: the last one is spec.json, each of them grids/<recipe>-<digest>.json.

Results are shared by key; a grid's file is what its report is made from again.
"""

import hashlib
import re
import shlex
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from core.errors import BadInput
from core.seal import sealed, unsealed
from orchestrator.plan import Plan, make_plan
from orchestrator.spec import GridSpec, parse_spec
from tasks import SCHEMA_VERSION, refuse_newer
from tasks.store import Store, nearby

LAST, FOLDER, MARKER = "spec.json", "grids", "version.json"
# what changes no cell
_BESIDE: dict[str, Any] = {"tracking": True, "resources": True, "needs_gpu": True, "weights_saw": True}
_LATER = ("digests", "test_share")  # fields of `data` that came later, and count where they are set


def grid_file(spec: GridSpec) -> str:
    """Name of a grid's own file; the same for two that differ in how they run alone."""
    later = {name: True for name in _LATER if not getattr(spec.data, name)}
    beside = _BESIDE | {"data": later} | ({} if spec.audit.models else {"audit": True})
    beside |= {} if spec.export.evaluate else {"export": True}
    beside |= {} if spec.forget.list else {"forget": True}
    digest = hashlib.sha256(spec.model_dump_json(exclude=beside).encode()).hexdigest()[:8]
    return f"{re.sub(r'[^A-Za-z0-9_.-]', '-', spec.recipe)}-{digest}.json"


def stored_values(store: Store) -> dict[str, Any] | None:
    """The grid that last ran in a store, as plain values; BadInput if it cannot be read."""
    try:
        return unsealed(store.get(LAST))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise BadInput(
            f"{store.uri}/{LAST} cannot be read ({error}); name the grid with --recipe or --spec"
        ) from error


def stored_grid(store: Store) -> GridSpec | None:
    """The grid that last ran in a store; BadInput if this version does not understand it."""
    values = stored_values(store)
    if values is None:
        return None
    try:
        return parse_spec(values)
    except BadInput as error:
        raise BadInput(
            f"{store.uri}/{LAST} is not a grid of this version ({error}): update unlearn-grid, or name the grid "
            "with --recipe or --spec"
        ) from error


def refuse_newer_store(store: Store) -> None:
    """Raises BadInput for a store that a later version has written to."""
    data = store.find(MARKER)
    try:
        version = unsealed(data)["schema_version"] if data else None
    except (ValueError, KeyError):
        return  # whatever it is, the rows say their version too
    refuse_newer(version, f"store {store.uri}")


def remember(store: Store, spec: GridSpec, plan: Plan) -> str:
    """Makes a grid the one this store is about; returns a line about the last one if it had other cells, or nothing."""
    before = _last(store)
    if before is not None:
        _put(store, grid_file(before), before)  # a store of a version that kept the last grid alone
    store.put(MARKER, sealed({"schema_version": SCHEMA_VERSION}))
    _put(store, grid_file(spec), spec)
    store.put(LAST, _file(spec))
    if before is None or grid_file(before) == grid_file(spec):
        return ""
    others = len(make_plan(before).cells.keys() - plan.cells.keys())
    if not others:
        return ""
    cells = "1 cell" if others == 1 else f"{others:,} cells"
    return f"this store held grid {before.recipe} before, with {cells} that this one has not; {again(store, before)}"


def again(store: Store, spec: GridSpec) -> str:
    """How to get the report of a grid that is not the last one."""
    file = f"{FOLDER}/{grid_file(spec)}"
    if not store.local:
        return f"for its report copy {store.uri}/{file} here and give it with --spec"
    where, named = shlex.quote(nearby(store.uri)), shlex.quote(nearby(store.path(file)))
    return f"its report: python -m orchestrator.grid report --store {where} --spec {named}"


def others(store: Store, spec: GridSpec) -> list[str]:
    """Files of the grids that a store holds beside one."""
    return [f"{FOLDER}/{name}" for name in store.names(FOLDER) if name != grid_file(spec)]


def all_grids(store: Store) -> Iterator[GridSpec]:
    """Every grid that ran in a store, as far as this version understands it; the last one may come twice."""
    for data in store.get_many([LAST, *(f"{FOLDER}/{name}" for name in store.names(FOLDER))]).values():
        with suppress(ValueError):  # BadInput is one, too
            yield parse_spec(unsealed(data or b""))


def _last(store: Store) -> GridSpec | None:
    """The last grid; None also for one that cannot be read, which a run replaces."""
    try:
        return stored_grid(store)
    except BadInput:
        return None


def _put(store: Store, name: str, spec: GridSpec) -> None:
    if not store.exists(f"{FOLDER}/{name}"):
        store.put(f"{FOLDER}/{name}", _file(spec))


def _file(spec: GridSpec) -> bytes:
    return sealed(spec.model_dump(mode="json"), indent=1)
