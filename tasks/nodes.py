"""The node kinds: each loads its parents, calls core, and hands back files, facts and a row."""

import hashlib
import json
import os
import platform
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from core import checkpoint
from core.data.splits import validation_indices
from core.errors import BadInput, Diverged
from core.metrics import predictions
from core.metrics.gap import FIGURES, average_gap
from core.metrics.mia import svc_mia
from core.metrics.predictions import Predictions
from core.quant import quantizer_faults
from core.quant.export import flip_rate, weight_codes
from core.train import EpochFacts
from core.unlearn import METHODS, Problem
from core.unlearn.retrain import RetrainParams, train_from_scratch
from tasks import warm
from tasks.job import Job, Place
from tasks.node import Kind, Node
from tasks.record import Candidate, EpochFact, Record
from tasks.store import Store

PREDICTIONS = "predictions.npz"
COORDINATES = (
    "dataset",
    "arch",
    "quant",
    "scenario",
    "amount",
    "method",
    "seed",
    "protocol",
    "select_on",
    "tried",
)


class Result(NamedTuple):
    """What a node function returns: files by name, small facts, and what its row has beside coordinates."""

    files: dict[str, bytes]
    facts: dict[str, Any]
    row: dict[str, Any]


def run_node(job: Job) -> Record:
    """Runs one node and commits it; returns its row. Exceptions are the caller's."""
    torch.set_num_threads(job.place.threads)
    torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = True, False
    start = time.perf_counter()
    store = Store(job.place.store)
    result = _FUNCTIONS[job.node.kind](job.node, job.place, store)
    record = base_record(job).model_copy(
        update={**result.row, "node_seconds": time.perf_counter() - start, "finished_at": _now()}
    )
    store.commit(job.node, result.files, result.facts, record)
    return record


def base_record(job: Job) -> Record:
    """A row with the node's coordinates and provenance only."""
    inputs, device = job.node.inputs, "cuda" if torch.cuda.is_available() else "cpu"
    return Record(
        key=job.node.key,
        kind=job.node.kind,
        params=_json_or_none(inputs.get("params")),
        code_revision=job.place.code_revision,
        hardware=_hardware(device if job.place.device == "auto" else job.place.device),
        versions=f"torch {torch.__version__}",
        **{name: inputs[name] for name in COORDINATES if name in inputs},
    )


def node_generator(inputs: dict[str, Any], role: str) -> torch.Generator:
    """A CPU generator seeded by the node's seed and role, so that roles draw independent numbers."""
    digest = hashlib.sha256(f"{inputs['seed']}/{role}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))


def prepare_data(node: Node, place: Place, _store: Store) -> Result:
    """Decodes the data set into this machine's cache; keeps its digest, to which all workers are held."""
    data = warm.device_data(place, {**node.inputs, "augment": False})
    facts = {"digest": data.digest, "classes": data.classes}
    return Result({}, facts, {"retain_count": len(data.train), "test_count": len(data.test)})


def train_original(node: Node, place: Place, store: Store) -> Result:
    """Trains on the whole pool: everything but the validation share."""
    data = _data(node, place, store)
    held = validation_indices(data.train.labels, node.inputs["validation"], node.inputs["seed"])
    pool = torch.ones(len(data.train), dtype=torch.bool)
    pool[held] = False
    images = data.train.select(pool.nonzero().flatten())
    params = RetrainParams(**node.inputs["params"])
    curve = Curve()
    model = warm.blank_model(node.inputs, data.classes, warm.device_of(place))
    seconds = _timed(
        lambda: train_from_scratch(
            model, images, data.transform, params, node_generator(node.inputs, "original"), curve.add
        )
    )
    return _model_result(model, data, seconds, curve)


def train_retrain(node: Node, place: Place, store: Store) -> Result:
    """Trains the reference on the retained images alone."""
    data = _data(node, place, store)
    model = warm.blank_model(node.inputs, data.classes, warm.device_of(place))
    return _unlearn(node, place, data, model)


def run_trial(node: Node, place: Place, store: Store) -> Result:
    """Applies a method with one set of hyper-parameters to the original."""
    data = _data(node, place, store)
    original = warm.original_model(place, node.parents[1], node.inputs, data.classes)
    return _unlearn(node, place, data, original)


def _unlearn(node: Node, place: Place, data: warm.DeviceData, model: nn.Module) -> Result:
    inputs, method = node.inputs, METHODS[node.inputs["method"]]
    parts = warm.node_split(data.train.labels, inputs)
    problem = Problem(
        model,
        data.train.select(parts.forget),
        data.train.select(parts.retain),
        data.classes,
        data.transform,
        warm.device_of(place),
    )
    curve = Curve()
    generator, params = node_generator(inputs, method.name), method.params(**inputs["params"])
    unlearned: list[nn.Module] = []
    seconds = _timed(lambda: unlearned.append(method.run(problem, params, generator, curve.add)))
    result = _model_result(unlearned[0], data, seconds, curve)
    if node.kind == "trial":
        result.row["flip_rate"] = flip_rate(weight_codes(model), weight_codes(unlearned[0]))
    return result


def evaluate(node: Node, _place: Place, store: Store) -> Result:
    """FA, RA, TA and the attack, from a model's stored predictions; CPU only."""
    inputs, (model_key, *_) = node.inputs, node.parents
    parts = predictions.unpack(store.read(model_key, PREDICTIONS))
    train, test = parts["train"], parts["test"]
    index = warm.node_split(torch.from_numpy(train.labels.astype(np.int64)), inputs)
    forget, retain, held = (train.select(part.numpy()) for part in index)
    if (
        inputs["scenario"] == "class"
    ):  # published protocol: the forgotten class leaves test and validation too
        test, held = (part.select(part.labels != int(inputs["amount"])) for part in (test, held))
    parent = store.manifest(model_key).record
    row = {
        "fa": forget.accuracy,
        "ra": retain.accuracy,
        "ta": test.accuracy,
        "mia": _attack(retain, test, forget),
        "va": held.accuracy if len(held) else None,
        "mia_validation": _attack(retain, held, forget) if len(held) else None,
        "forget_count": len(forget),
        "retain_count": len(retain),
        "test_count": len(test),
        "model": model_key,
        **{name: getattr(parent, name) for name in ("params", "seconds", "flip_rate")},
    }
    return Result({}, {}, row)


def _attack(retain: Predictions, outside: Predictions, forget: Predictions) -> float:
    return svc_mia(retain.confidence, outside.confidence, forget.confidence)


def select(node: Node, _place: Place, store: Store) -> Result:
    """Picks the trial with the smallest gap to Retrain; the first parent is Retrain's evaluation.

    Trials that failed have no manifest and are passed over. Reads validation figures unless the grid says
    `select_on=test`; the row carries the test figures of the chosen one.
    """
    reference, *trials = node.parents
    retrain = store.manifest(reference).record
    done = store.finished()
    candidates = [_candidate(store.manifest(key).record, retrain) for key in trials if key in done]
    if not candidates:
        raise BadInput("every trial of this cell failed")
    by = "ag" if node.inputs["select_on"] == "test" else "ag_validation"
    best = min(candidates, key=lambda c: (getattr(c, by), c.evaluation))
    chosen = store.manifest(best.evaluation).record
    copied = (
        "fa",
        "ra",
        "ta",
        "mia",
        "va",
        "mia_validation",
        "params",
        "tried",
        "seconds",
        "flip_rate",
        "model",
    )
    counts = ("forget_count", "retain_count", "test_count")
    row = {name: getattr(chosen, name) for name in (*copied, *counts)}
    row |= {
        "ag": best.ag,
        "ag_validation": best.ag_validation,
        "selected": best.evaluation,
        "reference": reference,
        "candidates": candidates,
    }
    return Result({}, {}, row)


def _candidate(trial: Record, retrain: Record) -> Candidate:
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


class Curve:
    """Collects what a training loop says about its epochs."""

    def __init__(self) -> None:
        self.facts: list[EpochFact] = []

    def add(self, epoch: int, facts: EpochFacts) -> None:
        """One epoch's facts."""
        self.facts += [EpochFact(epoch=epoch, name=name, value=value) for name, value in facts.items()]


def _model_result(model: nn.Module, data: warm.DeviceData, seconds: float, curve: Curve) -> Result:
    faults = quantizer_faults(model)
    if faults:
        raise Diverged("; ".join(f"quantizer {name}: {why}" for name, why in sorted(faults.items())[:3]))
    seen = {
        "train": predictions.predict(model, data.train, data.transform),
        "test": predictions.predict(model, data.test, data.transform),
    }
    if not all(np.isfinite(p.confidence).all() for p in seen.values()):
        raise Diverged("the model's probabilities are not finite")
    files = {checkpoint.WEIGHTS: checkpoint.pack(model), PREDICTIONS: predictions.pack(seen)}
    return Result(files, {}, {"seconds": seconds, "curve": curve.facts})


def _data(node: Node, place: Place, store: Store) -> warm.DeviceData:
    """The node's images, which must be the ones the store's data node saw."""
    data = warm.device_data(place, node.inputs)
    expected = store.manifest(node.parents[0]).facts["digest"]
    if data.digest != expected:
        raise BadInput(
            f"the {node.inputs['dataset']} images here (digest {data.digest[:12]}) are not those this store was made"
            f" from ({expected[:12]}): use the same files, or another --store"
        )
    return data


def _timed(work: Callable[[], object]) -> float:
    """Wall-clock seconds of the work, accelerator included."""
    start = time.perf_counter()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start


def _now() -> datetime:
    return datetime.now(UTC)


def _json_or_none(value: object) -> str | None:
    return None if value is None else json.dumps(value, sort_keys=True)


@lru_cache(maxsize=4)
def _hardware(device: str) -> str:
    """What did the work, in words."""
    if device == "cuda" and torch.cuda.is_available():
        return str(torch.cuda.get_device_name())
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), None)
    return f"{model or platform.processor() or platform.machine()}, {os.cpu_count()} CPUs"


_FUNCTIONS: dict[Kind, Callable[[Node, Place, Store], Result]] = {
    "data": prepare_data,
    "original": train_original,
    "retrain": train_retrain,
    "trial": run_trial,
    "evaluate": evaluate,
    "select": select,
}
