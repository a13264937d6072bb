"""How fast each network trains and predicts, and what a node costs beside that: what `plan` counts with."""

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
import torch
from scipy.optimize import nnls

from core.data.loader import Batch, Images, Transform
from core.metrics.predictions import predict
from core.train.loop import TrainParams, fit
from orchestrator.plan.costs.paces import Device, image_work
from tests.bench.beside_training import attacks, nodes
from tests.bench.loading import MEAN, STD
from tests.bench.measure import Effort, side_by_side
from tests.bench.pace_sizes import CLASSES, NETWORKS, TINY, Size, Timed, clock, named, network, sizes
from tests.bench.surroundings import as_in_a_node


def pace(effort: Effort) -> list[Timed]:
    """Training steps and predictions of both networks at their paper quantization, at several sizes.

    On a CPU these are seconds of its time, which other work beside hardly changes. Three times are fitted to the
    quickest training steps: per 10⁹ multiply-accumulates, per image moved through memory, which grows with
    width × pixels², and per step. MobileNetV2 spends next to nothing on the first. The other tables are what a
    node does beside training and predicting, and the attack in an evaluation, on a memorised model's
    confidences. From all this `plan` has its hours, see orchestrator/plan/costs/paces.json.
    """
    device: Device = "cuda" if torch.cuda.is_available() and not effort.tiny else "cpu"
    repeats, found = min(effort.repeats, 5), list[Timed]()
    with as_in_a_node():
        for arch in NETWORKS:
            measured = TINY if effort.tiny else sizes(arch, device)
            found += [
                _steps(arch, measured, device, repeats),
                _predictions(arch, measured[:2], device, repeats),
                nodes(arch, measured[0].width, device, repeats),
            ]
        return [*found, attacks((20, 40) if effort.tiny else (2500, 5000, 10_000), repeats)]


def fitted(arch: str, seconds: Mapping[Size, float]) -> tuple[np.ndarray, float]:
    """Seconds per unit of `Work`, none of them negative, and the root mean square of the relative errors.

    seconds: of a training step, per image. It is relative errors that are made small: small sizes count too.
    """
    units = np.array([image_work(arch, size.width, size.pixels, size.batch) for size in seconds])
    times = np.array(list(seconds.values()))
    coefficients, _ = nnls(units / times[:, None], np.ones(len(times)))
    return coefficients, float(np.sqrt(np.mean((units @ coefficients / times - 1) ** 2)))


def _steps(arch: str, measured: tuple[Size, ...], device: Device, repeats: int) -> Timed:
    variants = {size.words: _training(arch, size, device) for size in measured}
    found = Timed.of("steps", arch, measured, side_by_side(variants, repeats, clock=clock(device)))
    (gigamac, values, step), residual = fitted(arch, found.quickest())
    return found.titled(
        f"{named(arch, device)}, training; fitted: {1e3 * gigamac:.3g} ms per 10⁹ multiply-accumulates, "
        f"{1e3 * values:.3g} ms per image (at the paper's width and 32 px), {1e3 * step:.3g} ms per step; "
        f"residual {100 * residual:.0f} %"
    )


def _training(arch: str, size: Size, device: Device) -> Callable[[], None]:
    generator = torch.Generator().manual_seed(1)
    images = torch.randn((size.batch, 3, size.pixels, size.pixels), generator=generator)
    on_device = images.to(device, memory_format=torch.channels_last)
    batch = Batch(on_device, (torch.arange(size.batch) % CLASSES).to(device), None)
    model, params = network(arch, size.width, on_device), TrainParams(epochs=1, lr=1e-3)

    def steps() -> None:
        fit(model, lambda _: [batch] * size.steps, params, torch.Generator().manual_seed(3))
        if device == "cuda":
            torch.cuda.synchronize()

    return steps


def _predictions(arch: str, measured: tuple[Size, ...], device: Device, repeats: int) -> Timed:
    """As many images as a few steps train on, in batches of up to 1,000."""
    whole = tuple(size._replace(batch=min(1000, 8 * size.batch), steps=1) for size in measured)
    variants = {size.words: _predicting(arch, size, device) for size in whole}
    found = Timed.of("predictions", arch, whole, side_by_side(variants, repeats, clock=clock(device)))
    return found.titled(f"{named(arch, device)}, predictions")


def _predicting(arch: str, size: Size, device: Device) -> Callable[[], object]:
    shape = (size.batch, 3, size.pixels, size.pixels)
    pixels = torch.randint(256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    images = Images(pixels, torch.arange(size.batch) % CLASSES).to(torch.device(device))
    transform = Transform(MEAN, STD)
    model = network(arch, size.width, transform.normalise(images.pixels[:16]))
    return partial(predict, model, images, transform)  # what it returns is on the host: it has waited
