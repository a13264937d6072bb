"""How work ends: when no more of it is handed out, what a run came to, and whose fault a lost node is."""

import errno
import os
import time
from dataclasses import dataclass, field, replace

from core.errors import BadInput
from tasks import Outcome, Record, Unavailable
from tasks.store import Store


@dataclass
class Summary:
    """How a run ended. left: nodes not started because the time was up or a stop was asked for."""

    computed: int = 0
    failed: dict[str, Record] = field(default_factory=dict)
    blocked: int = 0
    left: int = 0
    warnings: list[str] = field(default_factory=list)


@dataclass
class Clock:
    """When to hand out no more work: after the budget (seconds, None: never) or when asked to stop."""

    budget: float | None = None
    stopping: bool = False
    started: float = field(default_factory=time.monotonic)

    def longest(self) -> float:
        """The longest node that may still start, in seconds."""
        if self.stopping:
            return 0.0
        if self.budget is None:
            return float("inf")
        return self.started + self.budget - time.monotonic()


def out_of_memory(outcome: Outcome, store: Store, where: str) -> Outcome:
    """The failure of a node that had all there was: hyper-parameters are never made smaller to fit."""
    message = f"{outcome.record.error_message} (it had the {where} to itself)"
    record = outcome.record.model_copy(update={"error_message": message})
    log = f"logs/{record.key}.log"
    store.note_failure(record, (store.find(log) or message.encode()).decode())
    return replace(outcome, record=record)


def unwritten(outcome: Outcome, store: Store) -> Outcome:
    """A result that its worker could not write: the store's trouble, or only that machine's.

    Raises Unavailable if the driver cannot write either; otherwise the node has failed, and says so.
    """
    message = outcome.record.error_message or "the store cannot be written"
    if any(os.strerror(code) in message for code in (errno.ENOSPC, errno.EDQUOT)):
        raise Unavailable(message)  # a full disk may have room for a probe
    try:
        store.check_writable()
    except BadInput as error:
        raise Unavailable(message) from error
    record = outcome.record.model_copy(update={"error_kind": "system"})
    store.note_failure(record, message)
    return replace(outcome, record=record, failure="system")
