"""Runs a node: its kind's function, then one commit."""

from __future__ import annotations

import time
from collections.abc import Callable

from core.lazy import torch
from core.sources import check_sources
from core.train import keep_freed_memory
from tasks.job import Job, Place
from tasks.node import TRAINING, Kind, Node
from tasks.nodes import warm
from tasks.nodes.arithmetic import arithmetic_of, precision_words
from tasks.nodes.auditing import audit
from tasks.nodes.exported import evaluate_export
from tasks.nodes.heartbeat import Heartbeat
from tasks.nodes.measuring import evaluate, select
from tasks.nodes.provenance import base_record, now
from tasks.nodes.result import Result
from tasks.nodes.scoring import score
from tasks.nodes.training import prepare_data, run_trial, train_original, train_retrain
from tasks.record import Record
from tasks.store import Store

_FUNCTIONS: dict[Kind, Callable[[Node, Place, Store], Result]] = {
    "data": prepare_data,
    "original": train_original,
    "retrain": train_retrain,
    "trial": run_trial,
    "evaluate": evaluate,
    "select": select,
    "score": score,
    "audit": audit,
    "evaluate_export": evaluate_export,
}


def run_node(job: Job, meanwhile: Callable[[], None] | None = None) -> Record:
    """Runs one node and commits it; returns its row. Exceptions are the caller's.

    A node that is finished by now (by a worker that died before it could say so, or for another driver) is
    not computed again. meanwhile: called now and then while a training is at work, in this thread.
    """
    torch.set_num_threads(job.place.threads)
    keep_freed_memory()
    on_gpu = _trains_on_gpu(job)
    if on_gpu:
        _divide_memory(job.place)
    torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = True, False
    start = time.perf_counter()
    store = Store(job.place.store)
    found = store.manifests([job.node.key], broken={})
    if found:
        return found[job.node.key].record
    check_sources(job.node.inputs)
    with Heartbeat(job.place.store, job.node, meanwhile):
        result = _result(job, store)
    record = base_record(job).model_copy(
        update={**result.row, "node_seconds": time.perf_counter() - start, "finished_at": now()}
    )
    if on_gpu:
        used = {"peak_memory": torch.cuda.max_memory_reserved(), "gpu_share": min(1.0, job.place.gpu_share)}
        record = record.model_copy(update=used)
    store.commit(job.node, result.files, result.facts, record)
    return record


def _result(job: Job, store: Store) -> Result:
    """What the node's function gives; of a training with what it was computed in."""
    function = _FUNCTIONS[job.node.kind]
    if job.node.kind not in TRAINING:
        return function(job.node, job.place, store)
    with arithmetic_of(job.place, store) as used:
        result = function(job.node, job.place, store)
        result.row["precision"] = precision_words(job.place, job.node, used)
    return result


def _trains_on_gpu(job: Job) -> bool:
    """Whether the node works on a GPU; nothing else may touch one, because that alone costs memory there."""
    return job.node.kind in TRAINING and warm.device_of(job.place).type == "cuda"


def _divide_memory(place: Place) -> None:
    """Holds the process to its share of the GPU, and starts measuring what it takes.

    Ray's fractions are bookkeeping: without this, one trial's cache would starve its neighbours. Set for every
    node: one that did not fit comes back with the whole GPU.
    """
    torch.cuda.set_per_process_memory_fraction(min(1.0, place.gpu_share))
    torch.cuda.empty_cache()  # else the node before counts as this one's
    torch.cuda.reset_peak_memory_stats()
