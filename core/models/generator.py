"""A small network that makes images out of noise (the generator of zero-shot knowledge transfer)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

NOISE = 128  # normal numbers behind an image


class Generator(nn.Module):
    """Three convolutions with two doublings between them; its images have mean 0 and deviation 1 per channel."""

    def __init__(self, pixels: Sequence[int], channels: int, width: int = 128) -> None:
        super().__init__()
        self.pixels, self.width = tuple(pixels), width
        self.start = tuple(max(1, side // 4) for side in pixels)
        self.spread = nn.Linear(NOISE, width * self.start[0] * self.start[1])
        self.first = nn.BatchNorm2d(width)
        self.layers = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1),
            nn.BatchNorm2d(width),
            nn.LeakyReLU(0.2),
            nn.Upsample(scale_factor=2),
            nn.Conv2d(width, width // 2, 3, padding=1),
            nn.BatchNorm2d(width // 2),
            nn.LeakyReLU(0.2),
            nn.Conv2d(width // 2, channels, 3, padding=1),
        )
        self.last = nn.BatchNorm2d(channels, affine=False)

    def forward(self, z_BN: Tensor) -> Tensor:
        """Images on the scale of normalised ones, B x channels x pixels."""
        x = self.first(self.spread(z_BN).view(-1, self.width, *self.start))
        x = self.layers(F.interpolate(x, scale_factor=2))
        if x.shape[2:] != self.pixels:  # of sides that four does not divide
            x = F.interpolate(x, self.pixels)
        images: Tensor = self.last(x)
        return images.contiguous(memory_format=torch.channels_last)
