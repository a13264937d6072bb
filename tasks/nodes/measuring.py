"""Nodes that measure and choose, from stored predictions; they never need an accelerator."""

from __future__ import annotations

import numpy as np

from core.errors import BadInput
from core.lazy import torch
from core.metrics import FIGURES, OUTPUTS, Predictions, average_gap, outputs, predictions, svc_mia
from tasks.job import Place
from tasks.node import Node
from tasks.nodes import warm
from tasks.nodes.result import PREDICTIONS, Result
from tasks.record import Candidate, Record
from tasks.store import Corrupt, Store

# what an evaluation's row says about the model that it looks at
_OF_MODEL = ("params", "seconds", "flip_rate", "step_drift", "epochs", "gpu_share")


def evaluate(node: Node, _place: Place, store: Store) -> Result:
    """FA, RA, TA and the attack, from a model's stored predictions; CPU only."""
    inputs, (model_key, *_) = node.inputs, node.parents
    parts = predictions.unpack(store.read(model_key, PREDICTIONS))
    train, test = parts["train"], parts["test"]
    index = warm.node_split(torch.from_numpy(train.labels.astype(np.int64)), inputs)
    forget, retain, held = (train.select(part.numpy()) for part in index)
    forgotten = None
    if inputs["scenario"] == "class":
        # published protocol: the forgotten class leaves test and validation too
        forgotten = test.select(test.labels == int(inputs["amount"]))
        test, held = (part.select(part.labels != int(inputs["amount"])) for part in (test, held))
    parent = store.manifest(model_key).record
    row = {
        "fa": forget.accuracy,
        "ra": retain.accuracy,
        "ta": test.accuracy,
        "mia": _attack(retain, test, forget),
        "ef": 100 - forgotten.accuracy if forgotten else None,
        "va": held.accuracy if len(held) else None,
        "mia_validation": _attack(retain, held, forget) if len(held) else None,
        "forget_count": len(forget),
        "retain_count": len(retain),
        "test_count": len(test),
        "model": model_key,
        **{name: getattr(parent, name) for name in _OF_MODEL},
    }
    return Result({}, {}, row)


def _attack(retain: Predictions, outside: Predictions, forget: Predictions) -> float:
    return svc_mia(retain.confidence, outside.confidence, forget.confidence)


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
    row = found[best.evaluation].model_dump(include=_CHOSEN) | {
        "ag": best.ag,
        "ag_validation": best.ag_validation,
        "selected": best.evaluation,
        "reference": reference,
        "candidates": candidates,
        "epochs": search.record.epochs if search else sum(trial.epochs or 0 for trial in found.values()),
    }
    return Result({}, {}, row | _distances(found[best.evaluation], retrain, store))


def _distances(chosen: Record, retrain: Record, store: Store) -> dict[str, float]:
    """How far the chosen model's outputs lie from Retrain's; nothing where older code kept no outputs."""
    kept = []
    for model in (chosen.model, retrain.model):
        if model is None or OUTPUTS not in store.manifest(model).files:
            return {}
        kept.append(outputs.unpack(store.read(model, OUTPUTS)))
    found = outputs.distances(*kept)
    return {f"activation_{name}": d.activation for name, d in found.items()} | {
        f"js_{name}": d.js for name, d in found.items()
    }


# what a selection's row takes over from the evaluation that it chose
_CHOSEN = {
    *FIGURES, "ef", "va", "mia_validation", "params", "tried", "seconds", "flip_rate", "step_drift", "gpu_share",
    "model", "forget_count", "retain_count", "test_count",
}  # fmt: skip


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
