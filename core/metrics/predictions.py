"""What a model says about every image, kept so that any later metric needs no accelerator."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from core.data import Images, Transform, plain_batches
from core.errors import BadInput
from core.lazy import nn, no_grad, torch
from core.metrics.margins import margins

# what numpy, zipfile and zlib raise on bytes that are no such file
DAMAGE = (
    ValueError, KeyError, TypeError, OSError, EOFError, RuntimeError, NotImplementedError,
    zipfile.BadZipFile, zlib.error,
)  # fmt: skip

IntArray = np.ndarray
FloatArray = np.ndarray


@dataclass(frozen=True)
class Predictions:
    """Per image, in dataset order: true label, predicted label (int16), probability of the true label (float32)."""

    labels: IntArray
    predicted: IntArray
    confidence: FloatArray

    def __len__(self) -> int:
        return len(self.labels)

    def select(self, index: IntArray) -> Predictions:
        """The rows at the given positions (or where a mask is true)."""
        return Predictions(self.labels[index], self.predicted[index], self.confidence[index])

    @property
    def accuracy(self) -> float:
        """Top-1 accuracy in percent."""
        return 100.0 * float(np.mean(self.labels == self.predicted))


def predict(model: nn.Module, images: Images, transform: Transform, batch_size: int = 1000) -> Predictions:
    """Runs a model over images in eval mode, without augmentation; the model's mode is restored."""
    return predict_with_margins(model, images, transform, batch_size)[0]


@no_grad
def predict_with_margins(
    model: nn.Module, images: Images, transform: Transform, batch_size: int = 1000
) -> tuple[Predictions, FloatArray]:
    """`predict`, and the margin of every image (float32) from the same logits, see `core.metrics.margins`."""
    predicted, confidence, found = [], [], []
    labels = torch.split(images.labels, batch_size)
    for logits_BK, labels_B in zip(_logits(model, images, transform, batch_size), labels, strict=True):
        probabilities_BK = logits_BK.softmax(1)
        predicted.append(probabilities_BK.argmax(1))
        confidence.append(probabilities_BK.gather(1, labels_B[:, None])[:, 0])
        found.append(margins(logits_BK.cpu().numpy(), labels_B.cpu().numpy()))
    seen = Predictions(
        images.labels.cpu().numpy().astype(np.int16),
        torch.cat(predicted).cpu().numpy().astype(np.int16),
        torch.cat(confidence).cpu().numpy(),
    )
    return seen, np.concatenate(found).astype(np.float32)


@no_grad
def probabilities(
    model: nn.Module, images: Images, transform: Transform, batch_size: int = 1000
) -> torch.Tensor:
    """Probabilities of all classes, float32 N x classes, in eval mode; the model's mode is restored."""
    logits = _logits(model, images, transform, batch_size)
    return torch.cat([logits_BK.softmax(1) for logits_BK in logits])


def _logits(
    model: nn.Module, images: Images, transform: Transform, batch_size: int
) -> Iterator[torch.Tensor]:
    """Logits batch by batch, float32, B x classes."""
    training = model.training
    model.eval()
    for batch in plain_batches(images, batch_size, transform):
        yield model(batch.images).float()
    model.train(training)


def pack(parts: dict[str, Predictions]) -> bytes:
    """Named predictions (train, test) as one compressed array file."""
    buffer = io.BytesIO()
    arrays = {
        f"{part}_{name}": getattr(p, name)
        for part, p in parts.items()
        for name in ("labels", "predicted", "confidence")
    }
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def pack_margins(parts: dict[str, FloatArray]) -> bytes:
    """Named margins (train, test) as one array file; float32 of a network do not compress."""
    buffer = io.BytesIO()
    arrays: dict[str, Any] = dict(parts)
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def unpack_margins(data: bytes) -> dict[str, FloatArray]:
    """The inverse of `pack_margins`; BadInput if the bytes are not such a file. Never unpickles."""
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except DAMAGE as error:
        raise BadInput(f"not a margins file: {error}") from error


def unpack(data: bytes) -> dict[str, Predictions]:
    """The inverse of `pack`; BadInput if the bytes are not such a file. Never unpickles."""
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            parts = sorted({name.split("_")[0] for name in file.files})
            return {
                part: Predictions(*(file[f"{part}_{name}"] for name in ("labels", "predicted", "confidence")))
                for part in parts
            }
    except DAMAGE as error:
        raise BadInput(f"not a predictions file: {error}") from error
