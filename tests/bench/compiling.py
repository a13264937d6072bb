"""What compiling a network costs once, and what it saves in every step."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from tempfile import TemporaryDirectory
from unittest.mock import patch

import torch

from core.data.loader import Batch
from core.models import MODELS
from core.train.forward import Forward, compile_seconds, compiled, plain
from core.train.loop import Callbacks, TrainParams, fit
from orchestrator.plan.costs.paces import Device
from tests.bench.measure import Comparison, Effort, side_by_side
from tests.bench.pace_sizes import CLASSES, NETWORKS, Size, named, network
from tests.bench.surroundings import as_in_a_node

PLAIN, COMPILED = "operation by operation", "compiled"
_SHARE = {"cpu": 0.25, "cuda": 1.0}  # of the paper's width


@dataclass(frozen=True)
class Compiled(Comparison):
    """Training steps of a network. took: seconds of compiling it, forward and backward."""

    arch: str = ""
    took: float = 0.0


def compiling(effort: Effort) -> list[Compiled]:
    """Training steps of both networks at their paper quantization, compiled and not.

    Compiling starts with nothing in torch's cache on disk. Whether it pays, `plan` decides by these two numbers,
    see orchestrator/plan/costs/compiling.py.
    """
    device: Device = "cuda" if torch.cuda.is_available() and not effort.tiny else "cpu"
    with as_in_a_node():
        return [_compared(arch, device, effort) for arch in NETWORKS]


def _compared(arch: str, device: Device, effort: Effort) -> Compiled:
    width = MODELS[arch].width * _SHARE[device]
    size = Size(width, 32, 256, 20) if device == "cuda" else Size(width, 32, 64)
    if effort.tiny:
        size = Size(0.01, 8, 2)
    with (
        TemporaryDirectory(prefix="bench-") as folder,
        patch.dict(os.environ, TORCHINDUCTOR_CACHE_DIR=folder),
    ):
        torch._dynamo.reset()
        before, forward = compile_seconds(), compiled(torch.device(device))
        variants = {PLAIN: _steps(arch, size, device, plain), COMPILED: _steps(arch, size, device, forward)}
        seconds = side_by_side(variants, effort.repeats)
        took = compile_seconds() - before
    case = f"{named(arch, device)}, {size.words}; compiling took {took:.0f} s"
    return Compiled(
        "compiling", case, "step", seconds, size.steps, size.batch, "images", PLAIN, arch=arch, took=took
    )


def _steps(arch: str, size: Size, device: Device, forward: Forward) -> Callable[[], None]:
    generator = torch.Generator().manual_seed(1)
    images = torch.randn((size.batch, 3, size.pixels, size.pixels), generator=generator)
    labels = (torch.arange(size.batch) % CLASSES).to(device)
    batch = Batch(images.to(device, memory_format=torch.channels_last), labels, None)
    model = network(arch, size.width, batch.images)
    params = TrainParams(epochs=1, lr=0.01, batch_size=size.batch)

    def steps() -> None:
        fit(
            model,
            lambda _: [batch] * size.steps,
            params,
            torch.Generator().manual_seed(3),
            callbacks=Callbacks(forward=forward),
        )
        if device == "cuda":
            torch.cuda.synchronize()

    return steps
