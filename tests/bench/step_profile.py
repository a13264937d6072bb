"""Where the time of a quantized training step goes."""

import os
from collections.abc import Iterable
from unittest.mock import patch

from torch.autograd.profiler_util import FunctionEventAvg
from torch.profiler import ProfilerActivity, profile

from tests.bench.measure import Comparison, Effort, of_this_machine
from tests.bench.surroundings import as_in_a_node
from tests.bench.training_step import OURS, QUANTS, Case, random_batch, repetition

# what a group's operations are called, whose own time and that of what they call counts
GROUPS = {
    "convolutions": ("aten::convolution", "ConvolutionBackward0"),
    "quantizers": ("_LSQPlus", "_LSQPlusBackward"),
    "normalisation": ("aten::batch_norm", "NativeBatchNormBackward0"),
    "ReLU": ("aten::relu_", "ReluBackward0"),
    "optimizer": ("Optimizer.step#SGD.step", "Optimizer.zero_grad#SGD.zero_grad"),
}
REST = "the rest"


def step_profile(effort: Effort) -> list[Comparison]:
    """One quantized training step of ResNet-18 by kinds of operation, from torch's profiler.

    The rest is what no group has: sums of residual blocks, pooling, loss, bounds on steps, Python.
    """
    cases = of_this_machine(effort, Case(0.01, 4, 1), [Case(0.25, 128, 2)], [Case(1.0, 256, 20, "cuda")])
    with as_in_a_node():
        return [_profiled(case, effort.repeats) for case in cases]


def _profiled(case: Case, repeats: int) -> Comparison:
    work = repetition(case, QUANTS[OURS], random_batch(case))
    work()
    seconds: dict[str, list[float]] = {name: [] for name in (*GROUPS, REST)}
    for _ in range(repeats):
        with patch.dict(os.environ, KINETO_LOG_LEVEL="99"), profile(activities=_activities(case)) as profiler:
            work()
        for name, spent in _grouped(profiler.key_averages(), case.device).items():
            seconds[name].append(spent)
    return Comparison("step_profile", f"4w4a LSQ+, {case.words}", "step", seconds, case.steps)


def _activities(case: Case) -> list[ProfilerActivity]:
    on_device = [ProfilerActivity.CUDA] if case.device == "cuda" else []
    return [ProfilerActivity.CPU, *on_device]


def _grouped(events: Iterable[FunctionEventAvg], device: str) -> dict[str, float]:
    """Seconds of each group and of the rest."""
    spent = {
        e.key: (e.device_time_total if device == "cuda" else e.cpu_time_total, _own(e, device))
        for e in events
    }
    found = {name: sum(spent[key][0] for key in keys if key in spent) / 1e6 for name, keys in GROUPS.items()}
    everything = sum(own for _, own in spent.values()) / 1e6
    return found | {REST: everything - sum(found.values())}


def _own(event: FunctionEventAvg, device: str) -> float:
    return float(event.self_device_time_total if device == "cuda" else event.self_cpu_time_total)
