"""A node at work tells how far it is: in the store, where any shell sees it, and to the process it works in."""

import os
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from contextvars import ContextVar
from statistics import fmean
from types import TracebackType
from typing import Protocol, Self

from core.errors import BadInput
from tasks.errors import Unavailable
from tasks.node import TRAINING, Node
from tasks.store import Running, Store, beat, name_of

_FIRST = 2.0  # seconds before a node says anything
_RECENT = 5  # epochs whose mean time stands for those to come


class EpochListener(Protocol):
    """Who hears how far a training is."""

    def expect(self, images: int) -> None:
        """How many images an epoch has, where that is known before the first has ended."""
        ...

    def batch(self, images: int) -> None:
        """A batch of so many images is done."""
        ...

    def epoch(self, epoch: int, facts: dict[str, float]) -> None:
        """An epoch is over, or was before the training went on from a saved state."""
        ...


class _NoListener:
    """Hears nothing: for a node's function that is called by itself."""

    def expect(self, images: int) -> None:
        """Nothing to do."""

    def batch(self, images: int) -> None:
        """Nothing to do."""

    def epoch(self, epoch: int, facts: dict[str, float]) -> None:
        """Nothing to do."""


def current() -> EpochListener:
    """Who hears of the node that this process is at."""
    return _CURRENT.get()


_CURRENT: ContextVar[EpochListener] = ContextVar("heartbeat", default=_NoListener())  # noqa: B039  (it has no state)


class Heartbeat:
    """Says of one node how far it is, until the `with` ends. Nothing here changes or delays what the node computes.

    A thread writes, first after a few seconds: a short node says nothing, and a storage that is slow or away holds
    up no training. meanwhile: called in the node's own thread after every batch.
    """

    def __init__(self, store: str, node: Node, meanwhile: Callable[[], None] | None = None) -> None:
        self._address, self._node, self._meanwhile = store, node, meanwhile
        self._begun = self._moved = time.monotonic()
        self._began_at = time.time()
        self._epoch, self._epochs, self._expected = 0, _epochs(node), 0
        self._images, self._seen, self._first = 0, 0, 0.0
        self._epoch_began = self._begun
        self._took: deque[float] = deque(maxlen=_RECENT)
        self._facts: dict[str, float] = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._tell, name="heartbeat", daemon=True)

    def __enter__(self) -> Self:
        self._token = _CURRENT.set(self)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _CURRENT.reset(self._token)
        self._over.set()
        self._thread.join()

    def expect(self, images: int) -> None:  # noqa: D102  (see EpochListener)
        self._expected = images

    def batch(self, images: int) -> None:
        """A batch of so many images is done."""
        self._moved = time.monotonic()
        if self._seen == 0:  # the first one may have waited for a compiler
            self._first = self._moved
        self._seen += images
        self._images += images
        if self._meanwhile is not None:
            self._meanwhile()

    def epoch(self, epoch: int, facts: dict[str, float]) -> None:
        """An epoch is over, or was before the training went on from a saved state."""
        self._moved = time.monotonic()
        if self._images:
            self._took.append(self._moved - self._epoch_began)
            self._expected = self._images
        self._epoch, self._facts = epoch + 1, dict(facts)
        self._images, self._epoch_began = 0, self._moved

    def now(self) -> Running:
        """What there is to say."""
        now = time.monotonic()
        speed = self._speed(now)
        each = (
            fmean(self._took) if self._took else self._expected / speed if speed and self._expected else None
        )
        left = whole = None
        if each is not None and self._epochs:
            left = max(
                0.0, each * (self._epochs - self._epoch) - (now - self._epoch_began if self._images else 0)
            )
            whole = each * self._epochs
        return Running(
            key=self._node.key,
            node=self._node.words,
            host=socket.gethostname(),
            pid=os.getpid(),
            begun=self._began_at,
            told=time.time(),
            idle=max(0.0, now - self._moved),
            epoch=self._epoch,
            epochs=self._epochs,
            images=self._images,
            per_second=speed,
            left=left,
            whole=whole,
            facts=self._facts,
        )

    def _speed(self, now: float) -> float | None:
        """Images a second since the first batch, as far as batches have come."""
        seconds = min(now, self._moved) - self._first
        return self._seen / seconds if self._seen and seconds > 1 else None

    def _tell(self) -> None:
        """The thread."""
        store = None
        while not self._over.wait(beat(store) if store else _FIRST):
            with suppress(OSError, Unavailable, BadInput):  # the node's own writes say so if it matters
                store = store or Store(self._address, patience=0.0)
                store.put(name_of(self._node.key), self.now().model_dump_json().encode())
        if store is not None:
            with suppress(OSError, Unavailable, BadInput):
                store.remove(name_of(self._node.key))


def _epochs(node: Node) -> int | None:
    """Of a training, or of the part of one that a node is; None where there are none."""
    if node.kind not in TRAINING:
        return None
    epochs = node.inputs.get("until", node.inputs["params"].get("epochs"))
    return epochs if isinstance(epochs, int) else None
