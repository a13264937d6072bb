"""What an unfinished training leaves in the store: its state every few epochs, gone once it is committed."""

import hashlib
import re

from tasks.nodes.timing import MethodClock
from tasks.store import Store

# v2: of what `core.train.state` packs; in v1, which still reads, the digest was of the state alone
_NAME = re.compile(r"(v[12])-(\d{6})-(\d+)-([0-9a-f]{16})\.safetensors")


class Partial:
    """The state of one node's training, as `core.train.loop.fit` leaves it.

    The file's name says how many epochs and milliseconds are behind it, and a digest over them, the node's key and
    the state: one that is not whole, or of another node, is passed over. Two workers at the same node write the
    same states. spent: seconds of earlier attempts that are in the loaded state. every: epochs between two states.
    until: epochs after which the training is to pause. clock: what the seconds are told by.
    """

    def __init__(
        self, store: Store, key: str, every: int, until: int | None = None, clock: MethodClock | None = None
    ) -> None:
        self.every, self.until, self.spent = every, until, 0.0
        self._store, self._folder, self._key = store, store.partial(key), key
        self.clock = clock or MethodClock()
        self._began = self.clock.now()

    def load(self) -> bytes | None:
        """The state of the most epochs that is whole, but not of more than `until`."""
        for name, match in sorted(self._files().items(), key=_epochs, reverse=True):
            if self.until is not None and int(match[2]) > self.until:
                continue
            data = self._store.find(f"{self._folder}/{name}")
            if data is not None and self._digest(match[1], match[2], match[3], data) == match[4]:
                self.spent, self._began = int(match[3]) / 1000, self.clock.now()
                return data
        return None

    def save(self, epoch: int, data: bytes) -> None:
        """Keeps a state, then removes the earlier ones."""
        spent = self.spent + self.clock.now() - self._began
        epochs, milliseconds = f"{epoch:06d}", f"{1000 * spent:.0f}"
        digest = self._digest("v2", epochs, milliseconds, data)
        kept = f"v2-{epochs}-{milliseconds}-{digest}.safetensors"
        self._store.put(f"{self._folder}/{kept}", data)
        for name, match in self._files().items():
            if int(match[2]) < epoch:
                self._store.remove(f"{self._folder}/{name}")

    def _files(self) -> dict[str, re.Match[str]]:
        names = self._store.names(self._folder)
        return {name: match for name in names if (match := _NAME.fullmatch(name))}

    def _digest(self, version: str, epochs: str, spent: str, data: bytes) -> str:
        digest = hashlib.sha256()
        if version != "v1":
            digest.update(f"{self._key} {epochs} {spent}\n".encode())
        digest.update(data)
        return digest.hexdigest()[:16]


def _epochs(state: tuple[str, re.Match[str]]) -> tuple[int, str]:
    name, match = state
    return int(match[2]), name
