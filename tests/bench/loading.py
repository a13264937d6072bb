"""How fast augmented training batches come."""

from collections import deque
from collections.abc import Iterable

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from core.data.loader import Images, Transform, batches
from tests.bench.measure import Comparison, Effort, side_by_side
from tests.bench.surroundings import as_in_a_node

OURS, REFERENCE = "core.data.loader", "DataLoader, torchvision on PIL"
MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
PIXELS, PADDING, BATCH = 32, 4, 256
AUGMENTED = Transform(MEAN, STD, PADDING, flip=True)


class PilImages(Dataset[tuple[Tensor, int]]):
    """uint8 arrays handed out one PIL image at a time through a transform, as torchvision's data sets do."""

    def __init__(self, images: Images, transform: transforms.Compose) -> None:
        self.pixels_NHWC = np.ascontiguousarray(images.pixels.permute(0, 2, 3, 1).numpy())
        self.labels: list[int] = images.labels.tolist()
        self.transform = transform

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(Image.fromarray(self.pixels_NHWC[index])), self.labels[index]


def loader(effort: Effort) -> list[Comparison]:
    """One shuffled pass over 32-pixel images in memory: crop, flip, normalise, batches of 256, one thread.

    The reference is a DataLoader without worker processes over the usual per-image torchvision transforms.
    """
    images = random_images(64 if effort.tiny else 5000)
    reference = reference_loader(images)
    generator = torch.Generator().manual_seed(2)
    variants = {
        REFERENCE: lambda: _exhaust(reference),
        OURS: lambda: _exhaust(batches(images, BATCH, AUGMENTED, generator)),
    }
    with as_in_a_node():
        seconds = side_by_side(variants, effort.repeats)
    case = f"{len(images):,} images of {PIXELS} px, batch {BATCH}, 1 CPU thread"
    return [Comparison("loader", case, "pass", seconds, items=len(images), item="images", baseline=REFERENCE)]


def random_images(count: int) -> Images:
    """Noise."""
    generator = torch.Generator().manual_seed(1)
    shape = (count, 3, PIXELS, PIXELS)
    pixels = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
    return Images(pixels, torch.arange(count) % 10)


def reference_loader(images: Images, batch: int = BATCH, workers: int = 0) -> DataLoader[tuple[Tensor, int]]:
    """What most code bases feed CIFAR with; workers are processes beside this one."""
    steps = [
        transforms.RandomCrop(PIXELS, PADDING),
        transforms.RandomHorizontalFlip(),
        transforms.ToTensor(),
        transforms.Normalize(MEAN, STD),
    ]
    return DataLoader(PilImages(images, transforms.Compose(steps)), batch, shuffle=True, num_workers=workers)


def _exhaust(found: Iterable[object]) -> None:
    deque(found, maxlen=0)
