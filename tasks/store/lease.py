"""Who works on a store: a lease, so that two drivers do not do the same work twice unawares.

Nothing rests on it but time: commits are idempotent, so results are right with any number of drivers.
"""

import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from pydantic import TypeAdapter

from core.errors import BadInput
from tasks.store.files import Files

NAME = "lease.json"
BEAT = 5.0  # seconds between two signs of life
_SINCE = "%Y-%m-%d %H:%M:%S UTC"
STALE = 60.0  # a lease of another machine without a sign of life for this long belongs to nobody


@dataclass(frozen=True)
class Holder:
    """A driver's lease. machine: boot and process namespace, so that pid means something. beat: counts up."""

    token: str
    host: str
    pid: int
    machine: str
    born: str
    since: str
    beat: int
    at: float

    @property
    def words(self) -> str:
        """For a person."""
        return f"host {self.host}, process {self.pid}, since {self.since}"

    def packed(self) -> bytes:
        """The lease file's bytes."""
        return json.dumps(asdict(self), indent=1).encode()


_HOLDER = TypeAdapter(Holder)


def this_driver() -> Holder:
    """A new lease of this process."""
    since = datetime.now(UTC).strftime(_SINCE)
    host, pid = socket.gethostname(), os.getpid()
    return Holder(uuid.uuid4().hex, host, pid, _machine(), _born(pid), since, 0, time.time())


def read_lease(files: Files) -> Holder | None:
    """Who holds the store, dead or alive; None for nobody, and for a lease that cannot be understood."""
    try:
        found: Holder = _HOLDER.validate_json(files.get(NAME))
        datetime.strptime(found.since, _SINCE)
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    return found


def alive(files: Files, holder: Holder, *, patient: bool = True) -> bool:
    """Whether a driver still runs.

    On this machine its process is looked for. Elsewhere its last sign of life must be less than `STALE`
    seconds old, or a new one arrive while we watch: clocks of two machines may differ. patient: watch at all.
    """
    if holder.machine == _machine():
        return _born(holder.pid) == holder.born != ""
    if abs(time.time() - holder.at) < STALE:
        return True
    if not patient:
        return False
    end = time.monotonic() + 2.5 * BEAT
    while time.monotonic() < end:
        time.sleep(BEAT / 5)
        now = read_lease(files)
        if now is not None and (now.token, now.beat) != (holder.token, holder.beat):
            return True
    return False


class Lease:
    """Held while the context lasts, with a sign of life every `BEAT` seconds.

    Entering raises BadInput if another live driver holds it; with `share` it warns instead, works beside it
    and takes the lease over when it becomes free.
    """

    def __init__(self, files: Files, warn: Callable[[str], None], *, share: bool = False) -> None:
        self.files, self.warn, self.share = files, warn, share
        self.mine = this_driver()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="lease", daemon=True)

    def __enter__(self) -> "Lease":
        other = None if self.files.create(NAME, self.mine.packed()) else self._other()
        if other is not None and not self.share:
            raise BadInput(
                f"a live driver ({other.words}) works on this store; wait for it, stop it, "
                "or work beside it with --share"
            )
        if other is not None:
            self.warn(
                f"another driver ({other.words}) works on this store too: some nodes may be computed twice"
            )
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        try:
            if _is(read_lease(self.files), self.mine):
                self.files.remove(NAME)
        except OSError:
            return  # a store that is gone keeps a lease that goes stale

    def _other(self) -> Holder | None:
        """The live driver that holds the lease; None once it is ours, taken from the dead."""
        found = read_lease(self.files)
        if found is None or not alive(self.files, found):
            self.files.put(NAME, self.mine.packed())
            found = read_lease(self.files)  # whoever else saw it stale may have been later
        return None if _is(found, self.mine) else found

    def _keep(self) -> None:
        files = Files(self.files.address, patience=0.0)
        while not self._over.wait(BEAT):
            try:
                found = read_lease(files)
                if found is not None and not _is(found, self.mine):
                    self._lost(found)
                    continue
                self.mine = replace(self.mine, beat=self.mine.beat + 1, at=time.time())
                files.put(NAME, self.mine.packed())
            except OSError:
                continue  # the run itself finds out when its results cannot be written

    def _lost(self, found: Holder) -> None:
        if not self.share:
            self.warn(f"another driver ({found.words}) has taken this store over; results stay right")
            self.share = True


def _is(found: Holder | None, mine: Holder) -> bool:
    return found is not None and found.token == mine.token


def _machine() -> str:
    """This boot of this machine and the process namespace in it; the host's name where there is no /proc."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return socket.gethostname()


def _born(pid: int) -> str:
    """When a process of this machine began, in its own unit; empty if it runs no more."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return "" if fields[0] in "ZX" else fields[19]
    except OSError:
        if Path("/proc/self/stat").exists():
            return ""
    try:
        os.kill(pid, 0)
    except PermissionError:
        return "unknown"
    except OSError:
        return ""
    return "unknown"
