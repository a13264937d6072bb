"""What a model says about every image, kept so that any later metric needs no accelerator."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from core.data import Images, Transform, plain_batches
from core.errors import BadInput
from core.lazy import nn, no_grad, torch

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


@no_grad
def predict(model: nn.Module, images: Images, transform: Transform, batch_size: int = 1000) -> Predictions:
    """Runs a model over images in eval mode, without augmentation; the model's mode is restored."""
    predicted, confidence = [], []
    labels = torch.split(images.labels, batch_size)
    for probabilities_BK, labels_B in zip(
        _outputs(model, images, transform, batch_size), labels, strict=True
    ):
        predicted.append(probabilities_BK.argmax(1))
        confidence.append(probabilities_BK.gather(1, labels_B[:, None])[:, 0])
    return Predictions(
        images.labels.cpu().numpy().astype(np.int16),
        torch.cat(predicted).cpu().numpy().astype(np.int16),
        torch.cat(confidence).cpu().numpy(),
    )


@no_grad
def probabilities(
    model: nn.Module, images: Images, transform: Transform, batch_size: int = 1000
) -> torch.Tensor:
    """Probabilities of all classes, float32 N x classes, in eval mode; the model's mode is restored."""
    return torch.cat(list(_outputs(model, images, transform, batch_size)))


def _outputs(
    model: nn.Module, images: Images, transform: Transform, batch_size: int
) -> Iterator[torch.Tensor]:
    """Probabilities batch by batch, B x classes."""
    training = model.training
    model.eval()
    for batch in plain_batches(images, batch_size, transform):
        yield model(batch.images).float().softmax(1)
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
