"""Processes beside an inline executor, which evaluate and choose while it trains.

One pool of one process each, because a process that dies takes everything with it that its pool is at.
"""

import os
import signal
import threading
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from multiprocessing.connection import Connection

from tasks.job import Job, Outcome
from tasks.nodes import attempt, failed


class Helpers:
    """So many processes for nodes that need no accelerator; each is started with its first node."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._context = get_context("spawn")  # a fork would share CUDA and the threads of torch
        self._lifeline, self._end = self._context.Pipe(duplex=False)
        self._idle: list[ProcessPoolExecutor | None] = [None] * count
        self._at_work: dict[Future[Outcome], tuple[Job, ProcessPoolExecutor]] = {}

    def free(self) -> int:
        """How many nodes could start now."""
        return len(self._idle)

    def submit(self, job: Job) -> None:
        """Starts a node on a process that is free."""
        pool = self._idle.pop() or self._pool()
        try:
            future = pool.submit(attempt, job)
        except BrokenProcessPool:  # it died while it had nothing to do
            pool = self._pool()
            future = pool.submit(attempt, job)
        self._at_work[future] = job, pool

    def wait(self, timeout: float) -> list[Outcome]:
        """Outcomes that have arrived, waiting up to the timeout (seconds) for a first one."""
        done, _ = wait(self._at_work, timeout, FIRST_COMPLETED)
        return [self._outcome(future) for future in done]

    def close(self) -> None:
        """Ends the processes; work in flight is dropped."""
        self._end.close()
        for pool in [*self._idle, *(pool for _, pool in self._at_work.values())]:
            if pool is not None:
                pool.shutdown(wait=False, cancel_futures=True)
        self._lifeline.close()

    def _outcome(self, future: Future[Outcome]) -> Outcome:
        """A node's end. The death of its process is a failure like any other."""
        job, pool = self._at_work.pop(future)
        error = future.exception()
        if error is None:
            self._idle.append(pool)
            return future.result()
        pool.shutdown(wait=False)
        self._idle.append(None)
        return failed(job, error, "system")

    def _pool(self) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(1, self._context, _begin, (self._lifeline,))


def _begin(lifeline: Connection) -> None:
    """Prepares a process for its nodes."""
    os.environ["CUDA_VISIBLE_DEVICES"] = ""  # no node here needs a GPU, and looking at one costs its memory
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the driver's to answer
    threading.Thread(target=_end_with, args=(lifeline,), daemon=True).start()


def _end_with(lifeline: Connection) -> None:
    """Ends this process when the other end of the pipe is closed, or gone with the driver, however that ended."""
    lifeline.poll(None)
    os._exit(1)
