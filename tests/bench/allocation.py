"""What it costs to give memory back to the system in every step and to ask for it again."""

from tests.bench.measure import Comparison, Effort
from tests.bench.training_step import Case
from tests.bench.worker import timed_together

RETURNED, KEPT = "returned, glibc's own way", "kept, core.train.allocator"


def allocation(effort: Effort) -> list[Comparison]:
    """A quantized training step on a CPU with freed memory returned to the system, and kept.

    The switch holds for a whole process, so every repetition is a process of its own; its start is not timed.
    """
    case = Case(0.01, 4, 1) if effort.tiny else Case(0.25, 128, 5)
    variants = {RETURNED: "returned", KEPT: "kept"}
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(effort.repeats):
        for name, memory in variants.items():
            seconds[name].append(timed_together(case, 1, memory=memory))
    return [Comparison("allocation", case.words, "step", seconds, case.steps, case.batch, "images", RETURNED)]
