"""How many training processes a machine should have: on a CPU, and on one GPU."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

from tests.bench.measure import Comparison, Effort, of_this_machine
from tests.bench.training_step import Case
from tests.bench.worker import timed_together

MPS = "nvidia-cuda-mps-control"


def slots(effort: Effort) -> list[Comparison]:
    """Quantized training in one process, and in several at once that share the machine or the GPU.

    A unit is a step of one process, so the ratio says what a trial costs beside others in terms of one alone. On
    CPUs as many threads work in all rows. On a GPU the processes share it, with and without NVIDIA's MPS.
    """
    (case,) = of_this_machine(effort, Case(0.01, 4, 1), [Case(0.25, 128, 5)], [Case(1.0, 256, 50, "cuda")])
    if case.device == "cpu":
        ways = [("1 process of 2 threads", 1, 2), ("2 processes of 1 thread", 2, 1)]
        return [_compared(case, ways, effort.repeats)]
    shared = [(f"{n} processes", n, 1) for n in (1, 2, 4)]
    found = [_compared(case, shared, effort.repeats)]
    if shutil.which(MPS):
        with _mps():
            under = [(f"{name} under MPS", n, threads) for name, n, threads in shared]
            found.append(_compared(case, under, effort.repeats))
    return found


def _compared(case: Case, ways: list[tuple[str, int, int]], repeats: int) -> Comparison:
    seconds: dict[str, list[float]] = {name: [] for name, _, _ in ways}
    for _ in range(repeats):
        for name, processes, threads in ways:
            # per process, as if each had had its share of the time for itself
            seconds[name].append(timed_together(case, processes, threads) / processes)
    return Comparison(
        "slots", case.words, "step", seconds, case.steps, case.batch, "images", baseline=ways[0][0]
    )


@contextmanager
def _mps() -> Iterator[None]:
    """A private MPS daemon; the GPU's own settings stay as they are."""
    with tempfile.TemporaryDirectory() as folder:
        places = {"CUDA_MPS_PIPE_DIRECTORY": folder, "CUDA_MPS_LOG_DIRECTORY": folder}
        with patch.dict(os.environ, places):
            subprocess.run([MPS, "-d"], check=True)
            try:
                yield
            finally:
                subprocess.run([MPS], input="quit\n", text=True, check=False)
