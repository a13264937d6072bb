"""Which grid and which store a command means."""

from pathlib import Path

from core import models
from core.errors import BadInput
from core.models import check_digest
from orchestrator import environment
from orchestrator.cli.matched_lists import with_rows
from orchestrator.results import known_grids, with_digests
from orchestrator.spec import GridSpec, grid_spec, with_overrides
from tasks.store import Store


def open_grid(
    verb: str, recipe: str | None, file: Path | None, overrides: list[str], store: str | None
) -> tuple[GridSpec, Store]:
    """The grid and the store a command means; a store that holds a grid needs no recipe.

    Raises BadInput for a store that a later version has written to, where there is no grid to speak of, and before
    work is planned or begun for weights that do not fit their network and for lists that name no images.
    """
    spec, opened = _opened(verb, recipe, file, overrides, store)
    afresh = verb in ("run", "plan")
    if afresh:
        _check_weights(spec)
    return with_digests(opened, with_rows(spec, afresh=afresh), afresh=afresh), opened


def _check_weights(spec: GridSpec) -> None:
    """Looks at the files of weights that lie on this machine; the workers look again."""
    for arch, file in spec.weights.items():
        path = Path(file.path)
        if path.exists():
            check_digest(path, file.sha256)
            for quant in spec.quant_specs(arch):
                models.check_weights_of(arch, path, width=spec.width(arch), quant=quant)


def _opened(
    verb: str, recipe: str | None, file: Path | None, overrides: list[str], store: str | None
) -> tuple[GridSpec, Store]:
    named = recipe is not None or file is not None
    spec = grid_spec(recipe, file, overrides) if named or not store else None
    opened = Store(environment.store_uri(store, spec.recipe if spec else ""))
    opened.check_readable()
    known_grids.refuse_newer_store(opened)
    if named:
        assert spec is not None
        return spec, opened
    known = known_grids.stored_grid(opened)
    if known is not None:
        return with_overrides(known.model_dump(mode="json"), overrides), opened
    if verb in ("run", "plan"):
        return spec or grid_spec(None, None, overrides), opened
    raise BadInput(f"no grid in {opened.uri}: {_advice(opened)}{_other_stores()}")


def _advice(store: Store) -> str:
    """What to do about a store without spec.json."""
    if store.finished():
        return "it has results, but not the grid they belong to; name it with --recipe or --spec"
    if store.names(""):
        return "the folder holds something else; name a store with --store"
    return "nothing ran there; name a store with --store, or run a grid first"


def _other_stores() -> str:
    found = sorted(str(path.parent) for path in Path("runs").glob("*/spec.json"))
    return f" (here: {', '.join(found)})" if found else ""
