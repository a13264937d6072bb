"""Nodes whose gaps to Retrain follow a known function of learning rate and epochs, at no cost.

Every cell has its best learning rate. A trial's gap is its distance from it in decades, times ten, plus what the
epochs still to come take away: up to 2, another amount for each trial, so that early ranks are not the last ones.
"""

import hashlib
import math
import os
from contextlib import suppress
from pathlib import Path

from core.checkpoint import WEIGHTS
from core.errors import Diverged
from core.metrics.gap import FIGURES
from tasks.executors import on_ray
from tasks.executors.tune_trial import TuneTrial
from tasks.node import TRAINING
from tasks.nodes import dispatch
from tasks.nodes.result import PREDICTIONS, Result
from tasks.store.store import Store

LOG, DIVERGE = "LANDSCAPE_LOG", "LANDSCAPE_DIVERGE"  # a file for every trial that runs; a learning rate


def distance(inputs):
    """Decades between a trial's learning rate and its cell's best one."""
    cell = "/".join(str(inputs[axis]) for axis in ("dataset", "arch", "method", "seed"))
    low, high = (-5, -3) if inputs["method"] == "ga" else (-3, -1)
    best = low + (high - low) * share(cell)
    return abs(math.log10(inputs["params"]["lr"]) - best)


def gap(inputs):
    """A trial's gap after the epochs it has had; IU, which has none, likes small steps."""
    params = inputs["params"]
    if "lr" not in params:
        return params["alpha"]
    left = 1 - inputs.get("until", params["epochs"]) / params["epochs"]
    return 10 * distance(inputs) + 2 * left * share(repr(params["lr"]))


def share(text):
    return int(hashlib.sha256(text.encode()).hexdigest()[:8], 16) / 0xFFFFFFFF


def train(node, place, store):
    if LOG in os.environ and node.kind == "trial":
        with Path(os.environ[LOG]).open("a") as file:
            file.write(f"{node.key}\n")
    if node.kind == "trial" and str(node.inputs["params"].get("lr")) == os.environ.get(DIVERGE):
        raise Diverged("the loss is not finite")
    whole = {} if "until" in node.inputs else {WEIGHTS: b"weights"}
    epochs = node.inputs.get("until", node.inputs["params"].get("epochs"))
    return Result(whole | {PREDICTIONS: b"predictions"}, {}, {"seconds": 1.0, "epochs": epochs})


def prepare(node, place, store):
    return Result({}, {"digest": "none", "classes": 10}, {})


def measure(node, place, store):
    trained = store.manifest(node.parents[0]).record
    off = gap(node.inputs) if node.inputs["method"] not in ("retrain", "original") else 0.0
    figures = dict.fromkeys((*FIGURES, "va", "mia_validation"), 50 + off)
    counts = {"forget_count": 10, "retain_count": 90, "test_count": 10}
    kept = {name: getattr(trained, name) for name in ("params", "seconds", "epochs")}
    return Result({}, {}, figures | counts | kept | {"model": trained.key})


NODES = dict.fromkeys(TRAINING, train) | {"data": prepare, "evaluate": measure}


class LandscapeTrial(TuneTrial):
    """The actor with these nodes."""

    def setup(self, config, place):
        dispatch._FUNCTIONS.update(NODES)
        super().setup(config, place)


def winners(store_uri):
    """The learning rate, or step, that each cell chose, and the epochs that it took."""
    store, found = Store(store_uri), {}
    for manifest in store.manifests(store.finished()).values():
        row = manifest.record
        if row.kind == "select":
            found[row.dataset, row.arch, row.method] = row.tried, row.epochs
    return found


class LandscapeWorker(on_ray._Worker):
    """The executor's worker with these nodes."""

    def run(self, job):
        dispatch._FUNCTIONS.update(NODES)
        return super().run(job)


class DyingTrial(LandscapeTrial):
    """The actor; the first one of a store ends with its process in the middle of a trial."""

    def step(self):
        if len(self._parts) == 2:
            with suppress(FileExistsError):
                (Path(self._place.store) / "died").touch(exist_ok=False)
                os._exit(1)
        return super().step()
