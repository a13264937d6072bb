"""Nodes that train nothing: they take a set time, leave files of a set size and write down that they ran.

Everything around them is the project's: plan, frontier, executors, commits, selections, report. Imports no
more than a worker does.
"""

import hashlib
import os
import time
from pathlib import Path
from typing import Any

import torch

from core.checkpoint import WEIGHTS
from tasks.executors import on_ray
from tasks.job import Job, Outcome, Place
from tasks.node import TRAINING, Node
from tasks.nodes import dispatch
from tasks.nodes.failures import attempt, failed
from tasks.nodes.result import PREDICTIONS, Result
from tasks.store.store import Store

SECONDS, LOG, BYTES, OOM, MEMORY = (
    "STUB_SECONDS",
    "STUB_LOG",
    "STUB_BYTES",
    "STUB_OOM",
    "STUB_MEMORY",
)  # environment of all processes


def train(node: Node, place: Place, store: Store) -> Result:
    """Takes its time; leaves weights and predictions that follow from the key alone."""
    note("start", node, store)
    for parent in node.parents:
        store.manifest(parent)
    time.sleep(seconds(node))
    _run_out_of_memory(node, place)
    size = int(os.environ.get(BYTES, "2000"))
    content = (node.key.encode() * (size // 64 + 1))[:size]
    note("whole" if place.gpu_share >= 1 else "share", node, store)
    row = {"seconds": seconds(node)} | ({"peak_memory": peak(node)} if MEMORY in os.environ else {})
    return Result({WEIGHTS: content, PREDICTIONS: content[:500]}, {}, row)


def _run_out_of_memory(node: Node, place: Place) -> None:
    """GA's trials do not fit beside others (`beside`), or not at all (`always`)."""
    when = os.environ.get(OOM)
    if node.inputs.get("method") == "ga" and (when == "always" or (when == "beside" and place.gpu_share < 1)):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")


def prepare(node: Node, _place: Place, store: Store) -> Result:
    """No data."""
    note("start", node, store)
    return Result({}, {"digest": "stub", "classes": 10}, {})


def measure(node: Node, _place: Place, store: Store) -> Result:
    """Figures that follow from the key alone; the model's predictions are read, and so checked."""
    note("start", node, store)
    (model,) = node.parents
    assert store.read(model, PREDICTIONS)
    figures: dict[str, Any] = {
        name: share(node, name) for name in ("fa", "ra", "ta", "mia", "va", "mia_validation")
    }
    counts = {"forget_count": 100, "retain_count": 900, "test_count": 100}
    return Result({}, {}, figures | counts | {"model": model, "seconds": 0.0})


def choose(node: Node, place: Place, store: Store) -> Result:
    """The project's own selection."""
    note("start", node, store)
    return SELECT(node, place, store)


def share(node: Node, name: str) -> float:
    """A percentage that depends on key and name."""
    return int(hashlib.sha256(f"{node.key}{name}".encode()).hexdigest()[:8], 16) / 0xFFFFFFFF * 100


def seconds(node: Node) -> float:
    """How long a training node takes: a few times the unit for what is trained from scratch."""
    unit = float(os.environ.get(SECONDS, "0.01"))
    return unit * {"original": 4, "retrain": 3}.get(node.kind, 0.5 + share(node, "seconds") / 100)


def peak(node: Node) -> int:
    """Bytes that a training node takes of its make-believe GPU: a third of it, a sixth for a trial."""
    return int(os.environ[MEMORY]) // (6 if node.kind == "trial" else 3)


def note(event: str, node: Node, store: Store) -> None:
    """One line: what happened to which node, if it was finished already, on which GPU, when."""
    if LOG in os.environ:
        again = "again" if store.exists(f"manifests/{node.key}.json") else "first"
        # two raylets of one machine both have a GPU 0; a worker's parent is its raylet
        gpu = f"{os.getppid()}/{os.environ.get('CUDA_VISIBLE_DEVICES', '')}"
        with Path(os.environ[LOG]).open("a") as file:
            file.write(f"{event} {node.key} {again} {gpu} {time.time():.4f}\n")


SELECT = dispatch._FUNCTIONS["select"]
STUBS = dict.fromkeys(TRAINING, train) | {"data": prepare, "evaluate": measure, "select": choose}


class StubWorker(on_ray._Worker):
    """The executor's actor with these nodes."""

    def run(self, job: Job) -> Outcome:
        dispatch._FUNCTIONS.update(STUBS)
        return attempt(job)

    def where(self) -> tuple[str, int]:
        home, memory = super().where()
        return home, int(os.environ.get(MEMORY, memory))


class CrampedWorker(on_ray._Worker):
    """A real worker whose nodes fit only where they have everything."""

    def run(self, job: Job) -> Outcome:
        if job.place.gpu_share < 1:
            return failed(job, MemoryError("no room"))
        return super().run(job)


def install() -> None:
    """From now on, drivers of this process and their workers run these nodes."""
    dispatch._FUNCTIONS.update(STUBS)
    on_ray._Worker = StubWorker  # type: ignore[misc]
