"""Models out of a store: originals, Retrains and what a selection chose."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from core import checkpoint
from core.errors import BadInput, unknown
from core.lazy import nn, torch
from orchestrator import environment
from orchestrator.plan import Cell, expand, make_plan
from orchestrator.results import known_grids
from orchestrator.results.entries import Entry, Row, collect
from orchestrator.results.reading import measured_rows
from orchestrator.spec import arch_name, dataset_name, method_name
from tasks.nodes import warm
from tasks.store import Corrupt, Store

BEST = "best"  # in the place of a method's name


def load_model(
    store_uri: str,
    *,
    method: str,
    dataset: str | None = None,
    arch: str | None = None,
    quant: str | None = None,
    scenario: str | None = None,
    amount: float | None = None,
    seed: int | None = None,
    device: str = "cpu",
) -> nn.Module:
    """The network behind one cell of the grid that last ran in a store, in eval mode, quantizers included.

    method: a label such as "qmul", else "retrain" or "original", or "best": the one with the smallest AG, which need
    not differ from the next by more than the noise. Names may be those that tables print. The other coordinates are
    needed as far as the grid has several. It takes images (N, 3, H, W) normalised with their data set's mean and
    standard deviation, and returns logits (N, classes). Raises BadInput if no cell or several are meant, and if its
    weights are not there.
    """
    store = Store(environment.store_uri(store_uri, ""))
    wanted = {
        "dataset": dataset, "arch": arch, "quant": quant, "scenario": scenario, "amount": amount, "seed": seed,
    }  # fmt: skip
    row, _ = find(store, method, wanted)
    return load_node(store, row["model"], torch.device(device))


def find(store: Store, method: str, wanted: dict[str, Any]) -> tuple[Row, Entry]:
    """The row of the only cell of these coordinates, which are left out or None where the grid has one, and its entry.

    Raises BadInput if no cell or several are meant, and for one that is not finished.
    """
    entry = _entry(store, method, {name: value for name, value in wanted.items() if value is not None})
    if entry.row is None:
        raise BadInput(f"{_words(entry.cell)} has no model: {entry.hole}")
    return entry.row, entry


def _entry(store: Store, method: str, wanted: dict[str, Any]) -> Entry:
    spec = known_grids.stored_grid(store)
    if spec is None:
        raise BadInput(f"no grid in {store.uri}: name a store in which a grid ran")
    plan = expand(make_plan(spec), store)
    entries = collect(plan, measured_rows(store, plan.nodes.keys())[0])
    asked = _as_stored(wanted) | ({} if method == BEST else {"method": method_label(method)})
    for name, value in asked.items():
        known = {str(getattr(entry.cell, name)): entry for entry in entries}
        entries = [entry for entry in entries if getattr(entry.cell, name) == value]
        if not entries:
            raise unknown(name, value, known)
    if method == BEST:
        entries = _best_of(entries)
    if len(entries) > 1:
        raise BadInput(f"{len(entries)} models of {method}: {_choices(entries)}")
    return entries[0]


def _as_stored(wanted: dict[str, Any]) -> dict[str, Any]:
    """Coordinates with the names that the registries have for what tables print."""
    named = {"dataset": dataset_name, "arch": arch_name}
    return {name: named[name](value) if name in named else value for name, value in wanted.items()}


def method_label(text: str) -> str:
    """A method's label with the registry's name in front, options as they are."""
    name, colon, options = text.partition(":")
    return method_name(name) + colon + options


def _best_of(entries: list[Entry]) -> list[Entry]:
    """The entry with the smallest AG; all of them where they are of several problems or seeds."""
    if len({entry.cell.problem for entry in entries}) > 1:
        return entries
    judged = [(entry.row["ag"], entry) for entry in entries if entry.row and entry.row["kind"] == "select"]
    if not judged:
        raise BadInput("no method of this problem is finished, so none is the best")
    return [min(judged, key=lambda pair: pair[0])[1]]


def _choices(entries: list[Entry]) -> str:
    """`say which seed (1, 2)`, for every coordinate of which there are several."""
    axes = {
        name: list(dict.fromkeys(getattr(entry.cell, name) for entry in entries))
        for name in Cell._fields
        if name != "method"
    }
    several = (f"{name} ({', '.join(map(str, v))})" for name, v in axes.items() if len(v) > 1)
    return f"say which {', '.join(several)}"


def _words(cell: Cell) -> str:
    return " ".join(map(str, cell))


def load_node(store: Store, key: str, device: torch.device) -> nn.Module:
    """The network that a node left, in eval mode; BadInput if its weights are not there or broken."""
    try:
        if checkpoint.WEIGHTS in store.manifest(key).removed:
            raise BadInput(f"the weights of {key[:12]} were not kept: run the grid again with --set keep=all")
        weights = checkpoint.unpack(store.read(key, checkpoint.WEIGHTS))
        node = store.nodes([key])[key]
        classes = store.manifest(node.parents[0]).facts["classes"]
    except Corrupt as error:
        with suppress(OSError):  # a store that may only be read keeps it
            store.quarantine(error.key)
        raise BadInput(f"{error}; the grid's command, given again, computes it anew") from error
    model = warm.blank_model(node.inputs, classes, device)
    model.load_state_dict(weights)
    return model.eval()
