"""As much of Ray as the executor asks for, in this process and on a clock that jumps from event to event."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from tasks.job import Job, Outcome


@dataclass
class Run:
    """One node's time on a GPU. side: whether on a side seat. warm: jobs that idle processes there ran last."""

    job: Job
    home: str
    side: bool
    start: float
    end: float
    warm: list[Job]


class RayError(Exception):
    """What Ray raises."""


# What becomes of a node that starts: after so many seconds an outcome, or the end of its worker.
World = Callable[[Job], tuple[float, Outcome | RayError]]


@dataclass(eq=False)
class _Question:
    """A method of a worker that was called: when it will be answered, and what."""

    actor: "_Actor"
    at: float
    answer: Any


@dataclass(eq=False)
class _Actor:
    """A worker's process."""

    ray: "FakeRay"
    home: str
    side: bool
    busy: float = 0.0
    last: Job | None = None

    @property
    def where(self) -> SimpleNamespace:
        memory = self.ray.memory if "/" in self.home else 0
        arrival = self.ray.now + self.ray.slowness * int(self.home.startswith("m1"))
        return SimpleNamespace(remote=lambda: _Question(self, arrival, (self.home, memory)))

    @property
    def run(self) -> SimpleNamespace:
        return SimpleNamespace(remote=self._run)

    def _run(self, job: Job) -> _Question:
        ray = self.ray
        seconds, outcome = ray.world(job)
        beside = [a for a in ray.actors if a is not self and a.home == self.home]
        warm = [a.last for a in beside if a.busy <= ray.now and a.last is not None]
        self.busy, self.last = ray.now + seconds, job
        if "/" in self.home:
            ray.runs.append(Run(job, self.home, self.side, ray.now, self.busy, warm))
        return _Question(self, self.busy, outcome)


@dataclass
class FakeRay:
    """A head without GPU and machines of one GPU each.

    memory: of each GPU. world: what nodes do. slowness: seconds that a worker takes to come to the second machine.
    """

    machines: int
    memory: int
    world: World
    slowness: float = 0.0
    now: float = 0.0
    runs: list[Run] = field(default_factory=list)
    actors: list[_Actor] = field(default_factory=list)

    def __post_init__(self) -> None:
        other = type("other", (RayError,), {})
        self.exceptions = SimpleNamespace(RayError=RayError, RayTaskError=other, OutOfMemoryError=other)
        strategies = SimpleNamespace(NodeAffinitySchedulingStrategy=lambda machine, soft: (machine, soft))
        self.util = SimpleNamespace(scheduling_strategies=strategies)

    def is_initialized(self) -> bool:
        return True

    def nodes(self) -> list[dict[str, Any]]:
        head = {"NodeID": "head", "Alive": True, "Resources": {"CPU": 4.0}}
        return [head] + [
            {"NodeID": f"m{n}", "Alive": True, "Resources": {"CPU": 4.0, "GPU": 1.0}}
            for n in range(self.machines)
        ]

    def remote(self, _class: type) -> SimpleNamespace:
        return SimpleNamespace(options=self._options)

    def _options(self, **needs: Any) -> SimpleNamespace:
        return SimpleNamespace(remote=lambda *gpus: self._place(needs, *gpus))

    def _place(self, needs: dict[str, Any], gpus: str | None = None) -> _Actor:
        """On the machine that is asked for, else on a GPU that nobody has, else on the head."""
        if gpus is not None:
            machine, soft = needs["scheduling_strategy"]
            assert (soft, needs["num_cpus"], needs["num_gpus"]) == (False, 0, 0)
            actor = _Actor(self, f"{machine}/{gpus}", side=True)
        elif needs.get("num_gpus"):
            taken = {actor.home for actor in self.actors if not actor.side}
            actor = _Actor(
                self, next(h for n in range(self.machines) if (h := f"m{n}/0") not in taken), side=False
            )
        else:
            actor = _Actor(self, "head", side=False)
        self.actors.append(actor)
        return actor

    def kill(self, actor: _Actor) -> None:
        self.actors.remove(actor)

    def get(self, question: _Question) -> Any:
        if question.actor not in self.actors:
            raise RayError("killed")
        if isinstance(question.answer, RayError):
            raise question.answer
        return question.answer

    def wait(
        self, questions: list[_Question], num_returns: int, timeout: float
    ) -> tuple[list[_Question], list[_Question]]:
        first = min((q.at for q in questions), default=math.inf)
        self.now = max(self.now, first) if timeout else self.now
        ready = [q for q in questions if q.at <= self.now][:num_returns]
        return ready, [q for q in questions if q not in ready]
