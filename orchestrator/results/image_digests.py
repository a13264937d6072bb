"""Results follow images: a grid learns which images it is about, and a store's results of other images are told apart.

A published data set is known by its name, and its keys hold nothing else. Of every other one, `folder:NAME` say, the
digest of the decoded images goes into the grid (`data.digests`) before it is planned, so that another content has
other keys and the same content has the same on every machine. A store from before that, which holds results under the
name alone, goes on being used as long as the images are those that its data node saw.
"""

from collections.abc import Iterator
from contextlib import suppress

from core.data import DATASETS, content_digest
from core.errors import BadInput
from orchestrator.environment import data_folders_of
from orchestrator.plan import Plan, data_node, make_plan
from orchestrator.results.known_grids import all_grids, stored_grid
from orchestrator.spec import GridSpec
from tasks.store import Store

_DIGITS = 12  # of a digest, for people


def with_digests(store: Store, spec: GridSpec, *, afresh: bool) -> GridSpec:
    """The grid with the digests of its images, where a name does not say which those are.

    afresh: it is about the images that lie here now, which are decoded if need be (`plan`, `run`); else about those
    that the store's results are of, as far as it has any.
    """
    found = {
        name: _digest(store, spec, name, afresh=afresh) for name in spec.datasets if name not in DATASETS
    }
    return _bound(spec, {name: digest for name, digest in found.items() if digest is not None})


def _bound(spec: GridSpec, digests: dict[str, str]) -> GridSpec:
    return spec.model_copy(update={"data": spec.data.model_copy(update={"digests": digests})})


def _digest(store: Store, spec: GridSpec, name: str, *, afresh: bool) -> str | None:
    """What goes into the keys; None where the name alone is in them, as in older stores."""
    given = spec.data.digests.get(name)
    if given and not afresh:
        return given
    by_name = _seen(store, _bound(spec, {}), name)
    if by_name and not afresh:
        return None
    now = _now(spec, name, decode=afresh)
    digest = now or given or _last(store, name)
    return None if digest == by_name else digest


def _now(spec: GridSpec, name: str, *, decode: bool) -> str | None:
    """That of the images that lie here now."""
    root, cache = data_folders_of(spec)
    return content_digest(name, root, cache, decode=decode, test_share=spec.data.test_share)


def _last(store: Store, name: str) -> str | None:
    """That of the grid that last ran here, for machines without the images."""
    with suppress(BadInput):
        last = stored_grid(store)
        return last.data.digests.get(name) if last else None
    return None


def _seen(store: Store, spec: GridSpec, name: str) -> str | None:
    """The digest that the store's data node noted, if it is finished."""
    key = data_node(spec, name).key
    found = store.manifests([key], broken={})
    return str(found[key].facts["digest"]) if found else None


def other_images(store: Store, spec: GridSpec, plan: Plan, finished: set[str]) -> list[str]:
    """A line for each data set of whose other images the store has results, or whose images are others by now."""
    return [line for name in spec.datasets for line in _lines(store, spec, plan, finished, name)]


def _results_of(store: Store, spec: GridSpec, finished: set[str], name: str) -> str | None:
    """The digest of the images that the grid's results are of; where its keys hold one, no file is read for it."""
    given = spec.data.digests.get(name)
    if given is None:
        return _seen(store, spec, name)
    return given if data_node(spec, name).key in finished else None


def _lines(store: Store, spec: GridSpec, plan: Plan, finished: set[str], name: str) -> Iterator[str]:
    root, _ = data_folders_of(spec)
    mine, now = _results_of(store, spec, finished, name), _now(spec, name, decode=False)
    if mine and now and mine != now:
        yield (
            f"{name}: the results here are of other images (digest {mine[:_DIGITS]}) than those that lie under {root}"
            f" now ({now[:_DIGITS]})"
        )
    others = _results_of_others(store, spec, plan, finished, name)
    if others:
        results = "1 result" if others == 1 else f"{others:,} results"
        yield f"{name}: {results} in this store are of other images and do not count for this grid"


def _results_of_others(store: Store, spec: GridSpec, plan: Plan, finished: set[str], name: str) -> int:
    """Finished nodes of the store's other grids that are about other images of a data set."""
    found: set[str] = set()
    for other in all_grids(store):
        if name in other.datasets and other.data.digests.get(name) != spec.data.digests.get(name):
            nodes = make_plan(other).nodes
            found |= {key for key, node in nodes.items() if node.inputs.get("dataset") == name}
    return len((found & finished) - plan.nodes.keys())
