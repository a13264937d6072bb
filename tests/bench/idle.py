"""Nodes without work, on the worker's side; imports no more than a real worker does."""

from collections.abc import Callable
from unittest.mock import patch

from tasks.executors import on_ray
from tasks.job import Job, Outcome, Place
from tasks.node import Node
from tasks.nodes import dispatch
from tasks.nodes.failures import attempt
from tasks.nodes.result import Result
from tasks.store.store import Store


def do_nothing(_node: Node, _place: Place, _store: Store) -> Result:
    """A node function without work."""
    return Result({}, {}, {})


def attempt_nothing(job: Job, meanwhile: Callable[[], None] | None = None) -> Outcome:
    """`tasks.nodes.failures.attempt` on a node whose function returns at once; runs in the worker's process."""
    with patch.dict(dispatch._FUNCTIONS, {job.node.kind: do_nothing}):
        return attempt(job, meanwhile)


class IdleWorker(on_ray._Worker):
    """The executor's actor, with nodes that have nothing to do."""

    def run(self, job: Job) -> Outcome:
        """One node."""
        return attempt_nothing(job)
