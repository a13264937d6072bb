"""Nodes that score: one metric of a model that was evaluated without it, from what the store kept of that model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from core import checkpoint
from core.checkpoint import WEIGHTS
from core.errors import BadInput, unknown
from core.lazy import nn, torch
from core.metrics import METRICS, OUTPUTS, measure
from tasks.job import Place
from tasks.node import Node, make_node
from tasks.nodes import warm
from tasks.nodes.measuring import outputs_of, set_margins, set_predictions
from tasks.nodes.provenance import COORDINATES
from tasks.nodes.result import MARGINS, PREDICTIONS, Result
from tasks.record import Record, figure_fields
from tasks.store import Corrupt, Manifest, Store

Manifests = Callable[[str], Manifest]


class Kept(NamedTuple):
    """A file that a node left, or was to leave."""

    key: str
    name: str


def score_node(about: str, metric: str) -> Node:
    """The node of a metric of a finished evaluation or, for a metric of outputs, selection. about: its key."""
    return make_node("score", (about,), {"metric": metric})


def score(node: Node, _place: Place, store: Store) -> Result:
    """One metric of what its parent looked at. The row has the parent's coordinates, and the figure."""
    name, (about,) = node.inputs["metric"], node.parents
    if name not in METRICS:
        raise unknown("metric", name, METRICS)
    row = store.manifest(about).record
    if lacking := lacking_files(name, row, store, store.manifest):
        raise BadInput(f"{name} cannot be computed: {lacking}")
    store.note_score(about, node.key)
    coordinates = {column: getattr(row, column) for column in (*COORDINATES, "params", "model")}
    figures = measure(METRICS[name].reads, *_evidence(name, row, store), only=(name,))
    return Result({}, {}, {**coordinates, "scored": about, **figure_fields(figures)})


def lacking_files(name: str, row: Record, store: Store, manifest: Manifests) -> str:
    """What a metric of an evaluation or selection needs and the store has not kept, in words; nothing if all is there.

    manifest: `store.manifest`, or one that remembers.
    """
    for key, file in _files(name, row, store, manifest):
        try:
            left = manifest(key)
        except Corrupt as error:
            return str(error)
        if file not in left.files:
            return f"{file} of node {key[:12]} was never written, by the version that made it"
        if file in left.removed:
            return f"{file} of node {key[:12]} was not kept (a grid with --set keep=all keeps it)"
    return ""


def _files(name: str, row: Record, store: Store, manifest: Manifests) -> list[Kept]:
    """The files that a metric is computed from."""
    model, reads = str(row.model), METRICS[name].reads
    if reads == "predictions":
        return [Kept(model, PREDICTIONS)]
    if reads == "margins":
        return [Kept(model, PREDICTIONS), Kept(model, MARGINS)]
    if reads == "outputs":
        return [Kept(model, OUTPUTS), Kept(_retrain(row, manifest), OUTPUTS)]
    if reads == "weights":
        return [Kept(model, WEIGHTS), Kept(_node(model, store).parents[1], WEIGHTS)]
    return []


def _evidence(name: str, row: Record, store: Store) -> tuple[Any, ...]:
    """What the metric's function is called with, see `core.metrics.Metric.reads`."""
    model, reads = str(row.model), METRICS[name].reads
    if reads == "predictions":
        return (set_predictions(_node(row.key, store), store),)
    if reads == "margins":
        return (set_margins(_node(row.key, store), store),)
    if reads == "outputs":
        return outputs_of(model, store), outputs_of(_retrain(row, store.manifest), store)
    if reads == "weights":
        return _networks(_node(model, store), store)
    return (store.manifest(model).record.model_dump(),)


def _retrain(selection: Record, manifest: Manifests) -> str:
    """The model that a selection compared its trials with."""
    return str(manifest(str(selection.reference)).record.model)


def _node(key: str, store: Store) -> Node:
    found = store.nodes([key])
    if key not in found:
        raise Corrupt(key, "manifest", "cannot be read")
    return found[key]


def _networks(trial: Node, store: Store) -> tuple[nn.Module, nn.Module]:
    """The original and the unlearned network, on the CPU, in eval mode."""
    data, original = trial.parents[:2]
    classes, device = store.manifest(data).facts["classes"], torch.device("cpu")
    found = []
    for key in (original, trial.key):
        model = warm.blank_model(trial.inputs, classes, device)
        model.load_state_dict(checkpoint.unpack(store.read(key, WEIGHTS)))
        found.append(model.eval())
    return found[0], found[1]
