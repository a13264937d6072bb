"""The places of workers, and who sits beside whom on a GPU."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tasks.executors import packing
from tasks.job import Job


@dataclass(eq=False)
class Seat:
    """A worker's place. arrival: the open question where its worker is. worker None: it rests.

    host: for a side seat, the seat whose GPU it shares. memory: of the GPU, in bytes; a side seat's is its host's.
    job: what runs there. last: what ran there last, in the process that is there now.
    """

    training: bool
    host: "Seat | None" = None
    worker: Any = None
    arrival: Any = None
    home: str = ""
    memory: int = 0
    job: Job | None = None
    last: Job | None = None

    @property
    def free(self) -> bool:
        """Whether a node could start here now."""
        return self.worker is not None and self.arrival is None and self.job is None

    @property
    def owner(self) -> "Seat":
        """The seat that has the GPU in Ray's books."""
        return self.host or self


def peaks_beside(seat: Seat, seats: Sequence[Seat]) -> list[float]:
    """Expected peaks of the nodes at work on a seat's GPU, without its own."""
    home = seat.owner.home
    return [s.job.memory for s in seats if s is not seat and s.job is not None and s.home == home]


def room_at(seat: Seat, seats: Sequence[Seat]) -> float:
    """The largest expected peak (bytes) of a node that fits on a seat beside what runs there; inf beside nothing."""
    return packing.room(seat.owner.memory, peaks_beside(seat, seats))


def in_the_way(job: Job, seat: Seat, seats: Sequence[Seat]) -> list[Seat]:
    """Idle side seats on a seat's GPU, if a node does not fit there beside what their processes keep warm."""
    idle = [
        s
        for s in seats
        if s.host is not None and s is not seat and s.home == seat.owner.home and s.job is None
    ]
    warm = [side.last.memory for side in idle if side.last is not None]
    taken = [*peaks_beside(seat, seats), *warm]
    return idle if job.memory > packing.room(seat.owner.memory, taken) else []


def open_sides(seats: Sequence[Seat], kept: str | None) -> list[int]:
    """Side seats, by number, of GPUs whose owner is at work: while it is not, they wait, and the GPU runs empty.

    The first of every GPU come before the second of any. kept: a home whose side seats stay as they are.
    """
    found: dict[int, int] = {}  # numbers, and how many side seats of its GPU come before
    before: dict[int, int] = {}
    for n, seat in enumerate(seats):
        if seat.host is not None:
            place = before[id(seat.host)] = before.get(id(seat.host), -1) + 1
            if seat.job is None and seat.host.job is not None and seat.host.home != kept:
                found[n] = place
    return sorted(found, key=lambda n: found[n])
