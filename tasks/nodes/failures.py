"""A failure is a value: what kind it was, in one line, with its traceback in the store."""

from __future__ import annotations

import traceback

from core.errors import BadInput, Diverged
from core.lazy import torch
from tasks.errors import Unavailable
from tasks.job import FailureKind, Job, Outcome
from tasks.nodes import warm
from tasks.nodes.dispatch import run_node
from tasks.nodes.provenance import base_record
from tasks.record import Record
from tasks.store import Corrupt, Store, scrub


def attempt(job: Job) -> Outcome:
    """Runs a node; an exception becomes a failed row, its log and an outcome that says so."""
    try:
        return Outcome(job.node, run_node(job))
    except Exception as error:
        return failed(job, error)


def failed(job: Job, error: BaseException, kind: FailureKind | None = None) -> Outcome:
    """The outcome of a node that raised; the row and the log are written as far as the store allows."""
    kind = kind or classify(error)
    if kind in ("memory", "corrupt"):
        warm.clear()
    if kind == "memory" and torch.cuda.is_available():
        torch.cuda.empty_cache()  # what the allocator holds is of no use here and of much beside us
    message = f"{type(error).__name__}: {error}" if kind == "system" else str(error)
    message = scrub(message, job.place.store)
    record = base_record(job).model_copy(
        update={
            "status": "failed",
            "error_kind": kind,
            "error_message": message.splitlines()[0][:2000] if message else type(error).__name__,
            "log": f"logs/{job.node.key}.log",
        }
    )
    corrupt = error.key if isinstance(error, Corrupt) else None
    if corrupt is None and kind != "store":
        _note(job, record, scrub("".join(traceback.format_exception(error)), job.place.store))
    return Outcome(job.node, record, kind, corrupt)


def classify(error: BaseException) -> FailureKind:
    """Which of the kinds an exception is."""
    if isinstance(error, Corrupt):
        return "corrupt"
    if isinstance(error, Unavailable):
        return "store"
    if isinstance(error, BadInput):
        return "bad input"
    if isinstance(error, Diverged):
        return "numeric"
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return "memory"
    return "system"


def _note(job: Job, record: Record, trace: str) -> None:
    try:
        Store(job.place.store).note_failure(record, trace)
    except OSError:  # a full or vanished store must not hide the failure itself
        return
