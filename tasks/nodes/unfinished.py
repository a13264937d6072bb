"""What an unfinished training leaves in the store: its state every few epochs, gone once it is committed."""

import hashlib
import re

from tasks.nodes.timing import MethodClock
from tasks.store import Store

_NAME = re.compile(r"v1-(\d{6})-(\d+)-([0-9a-f]{16})\.safetensors")  # v1: of what `core.train.state` packs


class Partial:
    """The state of one node's training, as `core.train.loop.fit` leaves it.

    The file's name says how many epochs and milliseconds are behind it, and its digest: a state that is not
    whole is passed over. Two workers at the same node write the same states. spent: seconds of earlier
    attempts that are in the loaded state. every: epochs between two states. until: epochs after which the
    training is to pause. clock: what the seconds are told by.
    """

    def __init__(
        self, store: Store, key: str, every: int, until: int | None = None, clock: MethodClock | None = None
    ) -> None:
        self.every, self.until, self.spent = every, until, 0.0
        self._store, self._folder = store, store.partial(key)
        self.clock = clock or MethodClock()
        self._began = self.clock.now()

    def load(self) -> bytes | None:
        """The state of the most epochs that is whole, but not of more than `until`."""
        for name, match in sorted(self._files().items(), reverse=True):
            if self.until is not None and int(match[1]) > self.until:
                continue
            data = self._store.find(f"{self._folder}/{name}")
            if data is not None and _digest(data) == match[3]:
                self.spent, self._began = int(match[2]) / 1000, self.clock.now()
                return data
        return None

    def save(self, epoch: int, data: bytes) -> None:
        """Keeps a state, then removes the earlier ones."""
        spent = self.spent + self.clock.now() - self._began
        kept = f"v1-{epoch:06d}-{1000 * spent:.0f}-{_digest(data)}.safetensors"
        self._store.put(f"{self._folder}/{kept}", data)
        for name, match in self._files().items():
            if int(match[1]) < epoch:
                self._store.remove(f"{self._folder}/{name}")

    def _files(self) -> dict[str, re.Match[str]]:
        names = self._store.names(self._folder)
        return {name: match for name in names if (match := _NAME.fullmatch(name))}


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]
