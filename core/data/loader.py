"""Device-resident images and their batches: uint8 until used, augmented and normalised in bulk.

Shape suffixes: N images, B batch, C channels, H height, W width.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

from core.lazy import F, Tensor, torch


@dataclass(frozen=True)
class Images:
    """Images with labels on one device: pixels uint8 NCHW, labels int64 N, optional loss weights N."""

    pixels: Tensor
    labels: Tensor
    weights: Tensor | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def select(self, index_N: Tensor) -> Images:
        """The images at the given positions."""
        index = index_N.to(self.labels.device)
        weights = None if self.weights is None else self.weights[index]
        return Images(self.pixels[index.to(self.pixels.device)], self.labels[index], weights)

    def evenly(self, count: int) -> Images:
        """At most so many of the images, evenly spread, because data sets may lie in the order of their classes."""
        if count >= len(self):
            return self
        return self.select(torch.arange(count) * len(self) // count)

    def relabelled(self, labels_N: Tensor) -> Images:
        """The same pixels under other labels."""
        return replace(self, labels=labels_N)

    def weighted(self, weight: float | Tensor) -> Images:
        """The same images, each with the given loss weight."""
        weights = torch.ones(len(self), device=self.labels.device) * weight
        return replace(self, weights=weights)

    def to(self, device: torch.device) -> Images:
        """A copy on the device."""
        weights = None if self.weights is None else self.weights.to(device)
        return Images(self.pixels.to(device), self.labels.to(device), weights)


def concat(first: Images, second: Images) -> Images:
    """First then second; weights are kept if both have them."""
    weights = None
    if first.weights is not None and second.weights is not None:
        weights = torch.cat([first.weights, second.weights])
    return Images(torch.cat([first.pixels, second.pixels]), torch.cat([first.labels, second.labels]), weights)


@dataclass(frozen=True)
class Batch:
    """One step's input: images float32 BCHW (normalised, channels-last), labels int64 B, weights B or None."""

    images: Tensor
    labels: Tensor
    weights: Tensor | None


@lru_cache(maxsize=16)
def _per_channel(values: tuple[float, ...], device: torch.device) -> Tensor:
    """Channel values on the scale of uint8, on the device; kept, so that batches copy nothing from the host."""
    return torch.tensor(values, device=device).view(1, -1, 1, 1) * 255


@dataclass(frozen=True)
class Transform:
    """Per-channel normalisation, and the training augmentation: random crop with zero padding, flip."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    crop_padding: int = 0
    flip: bool = False

    @property
    def augments(self) -> bool:
        """True if training images differ from test images."""
        return self.crop_padding > 0 or self.flip

    def normalise(self, pixels_BCHW: Tensor) -> Tensor:
        """uint8 to float32 with zero mean and unit deviation per channel, channels-last."""
        mean, std = (_per_channel(values, pixels_BCHW.device) for values in (self.mean, self.std))
        x = pixels_BCHW.to(torch.float32, memory_format=torch.channels_last)
        return x.sub_(mean).div_(std)

    def draw(self, count: int, generator: torch.Generator, device: torch.device) -> Tensor:
        """Augmentation of `count` images: int64 rows (dy, dx, flipped), drawn on the CPU for parity."""
        shifts = torch.randint(0, 2 * self.crop_padding + 1, (count, 2), generator=generator)
        flips = torch.randint(0, 2 if self.flip else 1, (count, 1), generator=generator)
        return torch.cat([shifts, flips], 1).to(device, non_blocking=True)

    def augment(self, pixels_BCHW: Tensor, draws_B3: Tensor) -> Tensor:
        """Crops and flips every image by its own draw, in one gather."""
        B, C, H, W = pixels_BCHW.shape
        padded = F.pad(pixels_BCHW, (self.crop_padding,) * 4)
        rows_BH = draws_B3[:, :1] + torch.arange(H, device=draws_B3.device)
        cols_BW = torch.arange(W, device=draws_B3.device).expand(B, W)
        cols_BW = torch.where(draws_B3[:, 2:] == 1, W - 1 - cols_BW, cols_BW) + draws_B3[:, 1:2]
        image = torch.arange(B, device=draws_B3.device).view(B, 1, 1, 1)
        channel = torch.arange(C, device=draws_B3.device).view(1, C, 1, 1)
        return padded[image, channel, rows_BH.view(B, 1, H, 1), cols_BW.view(B, 1, 1, W)]


def batches(
    images: Images,
    size: int,
    transform: Transform,
    generator: torch.Generator,
    *,
    augment: bool = True,
    order_N: Tensor | None = None,
) -> Iterator[Batch]:
    """One shuffled pass; the last batch may be smaller. All random draws are made at the start.

    order_N: the order of the images, if it was drawn before.
    """
    device = images.pixels.device
    order_N = (torch.randperm(len(images), generator=generator) if order_N is None else order_N).to(device)
    draws_N3 = transform.draw(len(images), generator, device) if augment and transform.augments else None
    for start in range(0, len(images), size):
        chosen = images.select(order_N[start : start + size])
        pixels = chosen.pixels
        if draws_N3 is not None:
            pixels = transform.augment(pixels, draws_N3[start : start + size])
        yield Batch(transform.normalise(pixels), chosen.labels, chosen.weights)


def plain_batches(
    images: Images, size: int, transform: Transform, generator: torch.Generator | None = None
) -> Iterator[Batch]:
    """One pass in order: for evaluation and measurements. Augmented only if a generator is given."""
    draws_N3 = None
    if generator is not None and transform.augments:
        draws_N3 = transform.draw(len(images), generator, images.pixels.device)
    for start in range(0, len(images), size):
        part = slice(start, start + size)
        pixels = images.pixels[part]
        if draws_N3 is not None:
            pixels = transform.augment(pixels, draws_N3[part])
        weights = None if images.weights is None else images.weights[part]
        yield Batch(transform.normalise(pixels), images.labels[part], weights)
