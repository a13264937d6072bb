"""Runs a node: its kind's function, then one commit."""

import time
from collections.abc import Callable

import torch

from tasks.job import Job, Place
from tasks.measuring import evaluate, select
from tasks.node import Kind, Node
from tasks.provenance import base_record, now
from tasks.record import Record
from tasks.result import Result
from tasks.store import Store
from tasks.training import prepare_data, run_trial, train_original, train_retrain

_FUNCTIONS: dict[Kind, Callable[[Node, Place, Store], Result]] = {
    "data": prepare_data,
    "original": train_original,
    "retrain": train_retrain,
    "trial": run_trial,
    "evaluate": evaluate,
    "select": select,
}


def run_node(job: Job) -> Record:
    """Runs one node and commits it; returns its row. Exceptions are the caller's."""
    torch.set_num_threads(job.place.threads)
    if torch.cuda.is_available() and job.place.gpu_share < 1:
        # Ray's fractions are bookkeeping: without this, one trial's cache would starve its neighbours
        torch.cuda.set_per_process_memory_fraction(job.place.gpu_share)
    torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = True, False
    start = time.perf_counter()
    store = Store(job.place.store)
    result = _FUNCTIONS[job.node.kind](job.node, job.place, store)
    record = base_record(job).model_copy(
        update={**result.row, "node_seconds": time.perf_counter() - start, "finished_at": now()}
    )
    store.commit(job.node, result.files, result.facts, record)
    return record
