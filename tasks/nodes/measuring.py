"""Nodes that measure and choose, from stored predictions; they never need an accelerator."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from core.errors import BadInput
from core.lazy import torch
from core.metrics import (
    FIGURES,
    METRICS,
    OUTPUTS,
    Predictions,
    SetMargins,
    SetPredictions,
    Source,
    average_gap,
    columns,
    measure,
    outputs,
    predictions,
)
from tasks.job import Place
from tasks.node import Node
from tasks.nodes import warm
from tasks.nodes.result import MARGINS, PREDICTIONS, Result
from tasks.record import Candidate, Record, figure_fields
from tasks.store import Corrupt, Store

# what an evaluation's row says about the model that it looks at, beside its figures
_OF_MODEL = ("params", "epochs", "gpu_share", "precision")


def evaluate(node: Node, _place: Place, store: Store) -> Result:
    """Every metric of a model's stored predictions, and what its training said about itself; CPU only."""
    model = store.manifest(node.parents[0]).record
    seen = set_predictions(node, store)
    figures = measure("predictions", seen) | measure("training", model.model_dump())
    if MARGINS in store.manifest(model.key).files:  # not where older code trained it
        figures |= measure("margins", set_margins(node, store))
    figures |= model.figures(of_source("weights"))
    row = {
        **figure_fields(figures),
        "forget_count": len(seen.forget),
        "retain_count": len(seen.retain),
        "test_count": len(seen.test),
        "model": model.key,
        **{name: getattr(model, name) for name in _OF_MODEL},
    }
    return Result({}, {}, row)


def set_predictions(node: Node, store: Store) -> SetPredictions:
    """What the model of an evaluation's node predicts, by the sets that the node describes."""
    return by_sets(_predictions(node, store), node.inputs)


def by_sets(parts: Mapping[str, Predictions], inputs: dict[str, Any]) -> SetPredictions:
    """Predictions of all training and test images, by the sets that a node's inputs describe."""
    train, test = parts["train"], parts["test"]
    at = set_indices(inputs, train.labels, test.labels)
    forget, retain, held = (train.select(part) for part in (at.forget, at.retain, at.validation))
    forgotten = None if at.forgotten is None else test.select(at.forgotten)
    return SetPredictions(forget, retain, test.select(at.test), held, forgotten)


def set_margins(node: Node, store: Store) -> SetMargins:
    """The margins that the model of an evaluation's node gives, by the same sets."""
    parts = _predictions(node, store)
    at = set_indices(node.inputs, parts["train"].labels, parts["test"].labels)
    found = predictions.unpack_margins(store.read(node.parents[0], MARGINS))
    train, test = found["train"], found["test"]
    return SetMargins(train[at.forget], train[at.retain], test[at.test], train[at.validation])


def _predictions(node: Node, store: Store) -> dict[str, Predictions]:
    return predictions.unpack(store.read(node.parents[0], PREDICTIONS))


class SetIndices(NamedTuple):
    """Positions of a problem's sets: forget, retain and validation in the training images, the others in the test's.

    forgotten: test images of a class that is forgotten whole; None where random images are.
    """

    forget: np.ndarray
    retain: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    forgotten: np.ndarray | None


def set_indices(inputs: dict[str, Any], train_labels: np.ndarray, test_labels: np.ndarray) -> SetIndices:
    """The sets that a node's inputs describe."""
    index = warm.node_split(torch.from_numpy(train_labels.astype(np.int64)), inputs)
    forget, retain, held = (part.numpy() for part in index)
    if inputs["scenario"] != "class":
        return SetIndices(forget, retain, held, np.arange(len(test_labels)), None)
    # published protocol: the forgotten class leaves test and validation too
    gone = int(inputs["amount"])
    staying, forgotten = np.flatnonzero(test_labels != gone), np.flatnonzero(test_labels == gone)
    return SetIndices(forget, retain, held[train_labels[held] != gone], staying, forgotten)


def of_source(*reads: Source) -> list[str]:
    """The columns of the metrics that read one of these sources."""
    return [column for name, metric in METRICS.items() if metric.reads in reads for column in columns(name)]


def select(node: Node, _place: Place, store: Store) -> Result:
    """Picks the trial with the smallest gap to Retrain; the first parent is Retrain's evaluation.

    The others are the trials' evaluations, or the search that says which of its trials were run to their end.
    Trials that failed have no manifest and are passed over. Reads validation figures unless the grid says
    `select_on=test`; the row carries the test figures of the chosen one.
    """
    reference, *trials = node.parents
    retrain = store.manifest(reference).record
    search = store.manifest(trials[0]) if "search" in node.inputs else None
    found = _finished(search.facts["finalists"] if search else trials, store)
    candidates = [candidate(record, retrain) for record in found.values()]
    if not candidates:
        raise BadInput("every trial of this cell failed")
    best = min(candidates, key=lambda c: (deciding_gap(c, node), c.evaluation))
    chosen = found[best.evaluation]
    figures = chosen.figures(of_source("predictions", "margins", "weights", "training"))
    figures |= _beside_retrain(chosen, retrain, store)
    row = (
        figure_fields(figures)
        | chosen.model_dump(include=_CHOSEN)
        | {
            "ag": best.ag,
            "ag_validation": best.ag_validation,
            "selected": best.evaluation,
            "reference": reference,
            "candidates": candidates,
            "epochs": search.record.epochs if search else sum(trial.epochs or 0 for trial in found.values()),
        }
    )
    return Result({}, {}, row)


def _beside_retrain(chosen: Record, retrain: Record, store: Store) -> dict[str, float | None]:
    """The metrics of the chosen model's outputs beside Retrain's; nothing where older code kept no outputs."""
    models = [record.model for record in (chosen, retrain)]
    if not all(model and OUTPUTS in store.manifest(model).files for model in models):
        return {}
    return measure("outputs", *(outputs_of(str(model), store) for model in models))


def outputs_of(model: str, store: Store) -> dict[str, Any]:
    """A model's probabilities on a sample of each set."""
    return outputs.unpack(store.read(model, OUTPUTS))


# what a selection's row takes over from the evaluation that it chose, beside its figures
_CHOSEN = {"params", "tried", "gpu_share", "precision", "model", "forget_count", "retain_count", "test_count"}


def _finished(evaluations: list[str], store: Store) -> dict[str, Record]:
    """The rows of those evaluations that are there; Corrupt for one that is and cannot be read."""
    broken: dict[str, Corrupt] = {}
    manifests = store.manifests(evaluations, broken)
    for error in broken.values():
        if not error.missing:
            raise error
    return {key: manifest.record for key, manifest in manifests.items()}


def deciding_gap(seen: Candidate, node: Node) -> float:
    """The gap to Retrain by which a selection or search node decides: on validation or on test figures."""
    return seen.ag if node.inputs["select_on"] == "test" else seen.ag_validation


def candidate(trial: Record, retrain: Record) -> Candidate:
    """A trial's evaluation beside Retrain's."""
    return Candidate(
        evaluation=trial.key,
        ag=average_gap(_test_figures(trial), _test_figures(retrain)),
        ag_validation=average_gap(_validation_figures(trial), _validation_figures(retrain)),
    )


def _test_figures(record: Record) -> dict[str, float]:
    return record.model_dump(include=set(FIGURES))


def _validation_figures(record: Record) -> dict[str, float]:
    """The four figures with validation images in the place of test images, where there are any."""
    if record.va is None or record.mia_validation is None:
        return _test_figures(record)
    return _test_figures(record) | {"ta": record.va, "mia": record.mia_validation}
