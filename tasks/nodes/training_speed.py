"""A few seconds of training on this machine: python -m tasks.nodes.training_speed resnet18 4w4a 0.125 16 64 cpu auto.

Prints JSON: seconds of a training step per image, and the hardware. `plan` runs it in a process of its own.
"""

import json
import sys
import time
from collections.abc import Iterator

import torch

from core.data import Batch
from core.models import build
from core.quant import QuantSpec, calibrate_
from core.train import Precision, TrainParams, fit, keep_freed_memory
from tasks.nodes.arithmetic import arithmetic_here
from tasks.nodes.provenance import hardware_of

_LEAST, _SECONDS, _CLASSES = 2, 1.5, 10  # steps, seconds of measuring, classes


def seconds_per_image(
    arch: str, quant: str, width: float, pixels: int, batch: int, device: torch.device, precision: Precision
) -> float:
    """Of a training step as nodes train: one CPU thread, whose processor time counts, or the GPU's wall time."""
    torch.set_num_threads(1)
    keep_freed_memory()
    generator = torch.Generator().manual_seed(1)
    model = build(arch, _CLASSES, generator=generator, width=width, quant=QuantSpec.parse(quant))
    images = torch.randn((batch, 3, pixels, pixels), generator=generator)
    images = images.to(device, memory_format=torch.channels_last)
    model = calibrate_(model.to(device), images)
    labels = (torch.arange(batch) % _CLASSES).to(device)
    now, took = time.process_time if device.type == "cpu" else _waiting, list[float]()

    def batches(_epoch: int) -> Iterator[Batch]:
        """The same one until enough time is measured; the first step makes buffers, and does not count."""
        yield Batch(images, labels, None)
        while len(took) < _LEAST or sum(took) < _SECONDS:
            before = now()
            yield Batch(images, labels, None)
            took.append(now() - before)

    with arithmetic_here(precision, device):
        fit(model, batches, TrainParams(epochs=1, lr=1e-3), generator)
    return min(took) / batch


def _waiting() -> float:
    """Wall time once the GPU has done what it was given."""
    torch.cuda.synchronize()
    return time.perf_counter()


def main(arguments: list[str]) -> None:
    """Prints the measurement."""
    arch, quant, width, pixels, batch, device, named = arguments
    on, precision = torch.device(device), TrainParams.model_validate({"precision": named}).precision
    seconds = seconds_per_image(arch, quant, float(width), int(pixels), int(batch), on, precision)
    print(json.dumps({"seconds": seconds, "hardware": hardware_of(device)}))


if __name__ == "__main__":
    main(sys.argv[1:])
