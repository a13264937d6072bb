"""How a network is made ready to be trained from scratch."""

from __future__ import annotations

from core import models, quant
from core.data import Images, Transform
from core.lazy import nn, torch


def start_(
    model: nn.Module,
    images: Images,
    transform: Transform,
    batch_size: int,
    generator: torch.Generator,
    *,
    pretrained: bool = False,
) -> None:
    """Initialises the model in place and calibrates its quantizers on one batch of the images, drawn, plain.

    pretrained: the weights stay what they are, those of a file say.
    """
    if not pretrained:
        models.initialise_(model, generator)
    first = images.select(torch.randperm(len(images), generator=generator)[:batch_size])
    quant.calibrate_(model, transform.normalise(first.pixels))
