"""One training process among others: says when it is ready, starts at a line on its input, tells its seconds.

    python -m tests.bench.worker WIDTH BATCH STEPS DEVICE THREADS MEMORY

MEMORY: kept or returned, see `core.train.allocator`.
"""

import subprocess
import sys
import time

import torch

from core.train.allocator import keep_freed_memory
from tests.bench.surroundings import ROOT
from tests.bench.training_step import OURS, QUANTS, Case, random_batch, repetition


def timed_together(case: Case, processes: int, threads: int = 1, memory: str = "kept") -> float:
    """Wall seconds until all of so many processes have made the case's steps, from a common start."""
    arguments = [case.width, case.batch, case.steps, case.device, threads, memory]
    command = [sys.executable, "-m", "tests.bench.worker", *map(str, arguments)]
    workers = [
        subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(processes)
    ]
    try:
        for worker in workers:
            assert _line(worker) == "ready"
        for worker in workers:
            assert worker.stdin is not None
            worker.stdin.write("go\n")
            worker.stdin.flush()
        return max(float(_line(worker)) for worker in workers)
    finally:
        for worker in workers:
            worker.kill()
            worker.communicate()


def _line(worker: subprocess.Popen[str]) -> str:
    assert worker.stdout is not None
    return worker.stdout.readline().strip()


def main() -> None:
    """The process itself."""
    width, batch, steps, device, threads, memory = sys.argv[1:]
    torch.set_num_threads(int(threads))
    if memory == "kept":
        keep_freed_memory()
    case = Case(float(width), int(batch), int(steps), device)
    work = repetition(case, QUANTS[OURS], random_batch(case))
    work()
    print("ready", flush=True)
    sys.stdin.readline()
    start = time.perf_counter()
    work()
    print(time.perf_counter() - start, flush=True)


if __name__ == "__main__":
    main()
