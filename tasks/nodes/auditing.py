"""Nodes that audit: one method's models and their Retrains, by the margins that they gave to every image."""

from __future__ import annotations

import io
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from core import checkpoint
from core.checkpoint import WEIGHTS
from core.errors import BadInput
from core.lazy import torch
from core.metrics import Predictions, audit as audits, predictions, svc_mia
from tasks.job import Place
from tasks.node import Node
from tasks.nodes import warm
from tasks.nodes.measuring import SetIndices, set_indices
from tasks.nodes.result import MARGINS, PREDICTIONS, Result
from tasks.nodes.training import predicted_files
from tasks.record import Score
from tasks.store import Store

AUDIT = "audit.npz"  # what an audit found of each image, and its ROC curves
MODELS = "audit_models"  # the score that says how many models of either kind there were
_ATTACKED = 1000  # images of a side that the attack of ToW-MIA learns from and is asked about, at most
_CURVE = 200  # points of a ROC curve
_PICTURES = 30  # images whose pictures are kept: more than the ten most exposed, among which some are alike


@dataclass(frozen=True)
class Said:
    """What one model says about all images: predictions and margins by part, and where its sets lie."""

    predictions: dict[str, Predictions]
    margins: dict[str, np.ndarray]
    at: SetIndices


class _Pair(NamedTuple):
    """A shadow's unlearned model and its Retrain."""

    retrain: str
    unlearned: str


def audit(node: Node, place: Place, store: Store) -> Result:
    """Every score of the node's attacks with its floor. Trains nothing; models that older code left are run again.

    Parents: the selection whose model is audited, or the original itself; original and Retrain; and of each shadow
    its Retrain and its unlearned model. Shadows of which either failed are left out with the other of their pair.
    """
    model, original, retrain, *shadows = node.parents
    chosen = store.manifest(model).record.model or model
    pairs = _whole_pairs([_Pair(*shadows[k : k + 2]) for k in range(0, len(shadows), 2)], store)
    own = _said(chosen, node.inputs, store, place)
    reader = _Reader(node, place, store, own)
    evidence = reader.evidence(
        [chosen, *(pair.unlearned for _, pair in pairs)],
        [retrain, *(pair.retrain for _, pair in pairs)],
        [number for number, _ in pairs],
    )
    found = audits.audited(evidence, node.inputs["attacks"], np.random.default_rng(node.inputs["seed"]))
    before = _said(original, node.inputs, store, place)
    of_images = _of_images(found, evidence, own.at.forget, before.margins["train"][own.at.forget])
    of_images |= _pictures(of_images, store.nodes([original])[original].inputs, place)
    files = {AUDIT: _packed(of_images)}
    scores = [Score(name=name, value=value) for name, value in _columns(found).items()]
    scores.append(Score(name=MODELS, value=evidence.models))
    row = {"model": chosen, "scores": scores, "forget_count": len(own.at.forget)}
    return Result(files, {"left_out": found.left_out}, row)


def _whole_pairs(shadows: list[_Pair], store: Store) -> list[tuple[int, _Pair]]:
    """Shadows by number that are there with the other of their pair; shadow 0 is the other of the model itself."""
    there = store.manifests([key for pair in shadows for key in pair], broken={}).keys()
    good = {number for number, pair in enumerate(shadows) if there >= set(pair)}
    if 0 not in good:
        raise BadInput("the shadow without any audited image is missing: --retry-failed trains it again")
    whole = [0] + [n for k in range(1, len(shadows), 2) if {k, k + 1} <= good for n in (k, k + 1)]
    return [(number, shadows[number]) for number in whole]


def _said(key: str, inputs: dict[str, Any], store: Store, place: Place) -> Said:
    """inputs: those that describe the model's sets."""
    files = store.manifest(key).files
    if MARGINS in files:
        data = {name: store.read(key, name) for name in (PREDICTIONS, MARGINS)}
    else:
        data = _evaluated_again(key, store, place)
    seen = predictions.unpack(data[PREDICTIONS])
    at = set_indices(inputs, seen["train"].labels, seen["test"].labels)
    return Said(seen, predictions.unpack_margins(data[MARGINS]), at)


def _evaluated_again(key: str, store: Store, place: Place) -> dict[str, bytes]:
    """What a model of code that kept no margins says about all images, from its weights."""
    manifest = store.manifest(key)
    if WEIGHTS not in manifest.files or WEIGHTS in manifest.removed:
        raise BadInput(
            f"margins of {key[:12]} were never written, by the version that made it, and its weights were not kept: "
            "it cannot be evaluated again"
        )
    node = store.nodes([key])[key]
    here = replace(place, device="cpu")
    data = warm.device_data(here, node.inputs)
    model = warm.blank_model(node.inputs, data.classes, torch.device("cpu"))
    model.load_state_dict(checkpoint.unpack(store.read(key, WEIGHTS)))
    return predicted_files(model.eval(), data)


class _Reader:
    """Puts together what an audit looks at."""

    def __init__(self, node: Node, place: Place, store: Store, own: Said) -> None:
        self.node, self.place, self.store, self.own = node, place, store, own

    def evidence(self, unlearned: list[str], retrained: list[str], numbers: list[int]) -> audits.Evidence:
        """The model first, then its shadows. numbers: of the shadows."""
        described = [self.node.inputs, *(self._shadow(number) for number in numbers)]
        both = [
            [_said(key, inputs, self.store, self.place) for key, inputs in zip(keys, described, strict=True)]
            for keys in (unlearned, retrained)
        ]
        audited = self.own.at.forget
        retained = self.own.at.retain
        for said in both[0]:
            retained = np.intersect1d(retained, said.at.retain, assume_unique=True)
        inside = np.array([np.isin(audited, said.at.forget) for said in both[0]])
        subject, retrain = (self._side(models, audited, retained) for models in both)
        return audits.Evidence(subject, retrain, inside)

    def _shadow(self, number: int) -> dict[str, Any]:
        inputs = self.node.inputs
        return inputs | {"shadow": {"number": number, "amount": inputs["amount"]}}

    def _side(self, models: list[Said], audited: np.ndarray, retained: np.ndarray) -> audits.Side:
        train = np.array([said.margins["train"] for said in models])
        test = np.array([said.margins["test"] for said in models])
        wanted = "tug_of_war" in self.node.inputs["attacks"]
        figures = [_figures(said, attack=wanted) for said in models]
        return audits.Side(train[:, audited], train[:, retained], test, figures)


def _figures(said: Said, *, attack: bool) -> dict[str, float]:
    """FA, RA, TA and, with `attack`, MIA of at most 1,000 images a side, in percent."""
    train, test = said.predictions["train"], said.predictions["test"]
    forget, retain = train.select(said.at.forget), train.select(said.at.retain)
    found = {"fa": forget.accuracy, "ra": retain.accuracy, "ta": test.accuracy}
    if not attack:
        return found
    sides = (_evenly(part.confidence, _ATTACKED) for part in (retain, test, forget))
    return found | {"mia": svc_mia(*sides)}


def _evenly(values: np.ndarray, most: int) -> np.ndarray:
    count = min(len(values), most)
    return values[np.arange(count) * len(values) // max(count, 1)]


def _columns(found: audits.Audit) -> dict[str, float]:
    """Each score, and beside it its floor with the interval's ends."""
    columns: dict[str, float] = {}
    for name, reading in found.readings.items():
        columns |= {
            name: reading.value,
            f"{name}_floor": reading.floor,
            f"{name}_floor_low": reading.low,
            f"{name}_floor_high": reading.high,
        }
    return columns


def _of_images(
    found: audits.Audit, evidence: audits.Evidence, audited: np.ndarray, original: np.ndarray
) -> dict[str, Any]:
    """Of each audited image its position, its margins and how exposed it is; ROC curves by attack."""
    within, out = audits.halves(evidence.subject.forget, evidence.retrain.forget, evidence.inside)
    arrays: dict[str, Any] = {
        "image": audited,
        "original": original,
        "unlearned": evidence.subject.forget[0],
        "retrained": evidence.retrain.forget[0],
        "unlearned_median": np.median(within, 0),
        "retrained_median": np.median(out, 0),
    }
    if "u_lira" in found.samples:
        arrays["u_lira"] = found.samples["u_lira"][0]
    for name, samples in found.samples.items():
        if audits.ATTACKS[name].roc:
            arrays[f"roc_{name}"] = audits.curve(samples[0], samples[1], _CURVE)
    return arrays


def _pictures(of_images: dict[str, Any], inputs: dict[str, Any], place: Place) -> dict[str, Any]:
    """The images that are most exposed, uint8 CHW, with their positions; nothing where this machine has no images."""
    exposed = of_images.get("u_lira", np.abs(of_images["unlearned_median"] - of_images["retrained_median"]))
    most = of_images["image"][np.argsort(-exposed, kind="stable")[:_PICTURES]]
    try:
        data = warm.device_data(replace(place, device="cpu"), inputs)
    except BadInput:
        return {}
    return {"pictured": most, "pictures": data.train.pixels[torch.from_numpy(most)].numpy()}


def _packed(arrays: dict[str, Any]) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()
