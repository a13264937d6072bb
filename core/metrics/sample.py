"""Accuracy on some of the images that a model is trained on: cheap enough to measure after every epoch."""

from __future__ import annotations

from core.data import Images, Transform
from core.lazy import nn
from core.metrics.predictions import predict

LARGEST, SMALLEST, SHARE = 512, 64, 10  # images: a tenth costs 3 to 4 % of a training epoch over all of them


class RetainSample:
    """RA on a sample, for `core.train.loop.fit`'s `after_epoch`. Draws nothing, and of the model changes nothing.

    The sample is a tenth of the images, at least 64 and at most 512, evenly spread over them, so that it is the
    same in every run. An original has forgotten nothing: for it the images are all that it is trained on.
    """

    def __init__(self, images: Images, transform: Transform) -> None:
        self.images = images.evenly(min(LARGEST, max(SMALLEST, len(images) // SHARE)))
        self._transform = transform

    def __call__(self, model: nn.Module) -> dict[str, float]:
        """`retain_accuracy` in percent, plain, in float32 and eval mode; the model's mode is restored."""
        return {"retain_accuracy": predict(model, self.images, self._transform).accuracy}
