"""Which grid and which store a command means."""

import json
from pathlib import Path
from typing import Any

from core.errors import BadInput
from orchestrator import places
from orchestrator.overrides import grid_spec, with_overrides
from orchestrator.spec import GridSpec
from tasks.store import Store


def open_grid(
    verb: str, recipe: str | None, file: Path | None, overrides: list[str], store: str | None
) -> tuple[GridSpec, Store]:
    """The grid and the store a command means; a store that holds a grid needs no recipe."""
    named = recipe is not None or file is not None
    spec = grid_spec(recipe, file, overrides) if named or not store else None
    opened = Store(places.store_uri(store, spec.recipe if spec else ""))
    opened.check_readable()
    if named:
        assert spec is not None
        return spec, opened
    known = _stored_values(opened)
    if known is not None:
        return with_overrides(known, overrides), opened
    if verb in ("run", "plan"):
        return spec or grid_spec(None, None, overrides), opened
    raise BadInput(f"no grid in {opened.uri}: name its store with --store{_other_stores()}")


def _stored_values(store: Store) -> dict[str, Any] | None:
    """The grid that last ran in a store, as plain values."""
    try:
        values: dict[str, Any] = json.loads(store.get("spec.json"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValueError as error:
        raise BadInput(
            f"{store.uri}/spec.json cannot be read ({error}); name the grid with --recipe or --spec"
        ) from error
    return values


def _other_stores() -> str:
    found = sorted(str(path.parent) for path in Path("runs").glob("*/spec.json"))
    return f" (here: {', '.join(found)})" if found else ""
