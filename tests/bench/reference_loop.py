"""What an epoch of training takes, beside the loop that the published code and most others train with."""

import os
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from core.data.loader import Images, batches
from core.train.loop import TrainParams, fit
from tests.bench import training_step
from tests.bench.loading import AUGMENTED, PIXELS, random_images, reference_loader
from tests.bench.measure import Comparison, Effort, of_this_machine, side_by_side
from tests.bench.surroundings import as_in_a_node
from tests.bench.training_step import QUANTS, network

OURS, REFERENCE = "core.train.loop, 4w4a LSQ+", "plain loop, 4w4a composed straight-through"
FLOAT = "plain loop, full precision"


@dataclass(frozen=True)
class Case:
    """A ResNet-18, its training images and batch; workers of the plain loop's DataLoader."""

    width: float
    images: int
    batch: int
    device: str = "cpu"
    workers: int = 0

    @property
    def words(self) -> str:
        """For the tables."""
        where = "float32, 1 CPU thread"
        if self.device == "cuda":
            where = f"CUDA, ours in bfloat16 autocast, {self.workers} DataLoader workers"
        return f"ResNet-18 width {self.width:g}, {self.images:,} images of {PIXELS} px, batch {self.batch}, {where}"


def reference_loop(effort: Effort) -> list[Comparison]:
    """One epoch of ResNet-18 on CIFAR's shapes, cropped and flipped: images in, updated weights out.

    Ours is `core.train.loop.fit` over `core.data.loader.batches`. The plain loop is written as the published code
    trains: a DataLoader over torchvision transforms on PIL, quantizers composed of elementary operations,
    contiguous layout, float32, torch's SGD, and the loss read every step.
    """
    on_gpu = [Case(1.0, 50_000, 256, "cuda", os.cpu_count() or 1)]
    cases = of_this_machine(effort, Case(0.01, 8, 4), [Case(0.25, 1024, 128)], on_gpu)
    with as_in_a_node():
        return [_compared(case, min(effort.repeats, 5)) for case in cases]


def _compared(case: Case, repeats: int) -> Comparison:
    images = random_images(case.images)
    variants = {
        REFERENCE: _plain(case, images, training_step.REFERENCE),
        FLOAT: _plain(case, images, training_step.FLOAT),
        OURS: _ours(case, images.to(torch.device(case.device))),
    }
    return Comparison(
        "reference_loop",
        case.words,
        "epoch",
        side_by_side(variants, repeats),
        items=case.images,
        item="images",
        baseline=REFERENCE,
    )


def _ours(case: Case, images: Images) -> Callable[[], object]:
    model = network(case.width, QUANTS[training_step.OURS], AUGMENTED.normalise(images.pixels[: case.batch]))
    params, generator = TrainParams(epochs=1, lr=0.01), torch.Generator().manual_seed(3)
    # reading the epoch's mean loss, `fit` waits for the device
    return lambda: fit(model, lambda _: batches(images, case.batch, AUGMENTED, generator), params, generator)


def _plain(case: Case, images: Images, quant: str) -> Callable[[], object]:
    first = AUGMENTED.normalise(images.pixels[: case.batch]).to(case.device)
    model = network(case.width, QUANTS[quant], first).to(memory_format=torch.contiguous_format)
    found = reference_loader(images, case.batch, case.workers)
    return lambda: plain_epoch(model, found, torch.device(case.device))


def plain_epoch(model: nn.Module, found: DataLoader[tuple[Tensor, int]], device: torch.device) -> float:
    """Trains for one epoch and returns the mean loss."""
    optimizer = torch.optim.SGD(model.parameters(), 0.01, momentum=0.9, weight_decay=5e-4)
    model.train()
    total = 0.0
    for images, labels in found:
        loss = F.cross_entropy(model(images.to(device)), labels.to(device))
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        total += loss.item()
    return total / len(found)
