"""What a model says about every image, kept so that any later metric needs no accelerator."""

import io
import zipfile
import zlib
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from core.data.loader import Images, Transform, plain_batches
from core.errors import BadInput

# what numpy, zipfile and zlib raise on bytes that are no such file
_DAMAGE = (
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

    def select(self, index: IntArray) -> "Predictions":
        """The rows at the given positions (or where a mask is true)."""
        return Predictions(self.labels[index], self.predicted[index], self.confidence[index])

    @property
    def accuracy(self) -> float:
        """Top-1 accuracy in percent."""
        return 100.0 * float(np.mean(self.labels == self.predicted))


@torch.no_grad()
def predict(model: nn.Module, images: Images, transform: Transform, batch_size: int = 1000) -> Predictions:
    """Runs a model over images in eval mode, without augmentation; the model's mode is restored."""
    training = model.training
    model.eval()
    predicted, confidence = [], []
    for batch in plain_batches(images, batch_size, transform):
        probabilities_BK = model(batch.images).float().softmax(1)
        predicted.append(probabilities_BK.argmax(1))
        confidence.append(probabilities_BK.gather(1, batch.labels[:, None])[:, 0])
    model.train(training)
    return Predictions(
        images.labels.cpu().numpy().astype(np.int16),
        torch.cat(predicted).cpu().numpy().astype(np.int16),
        torch.cat(confidence).cpu().numpy(),
    )


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
    except _DAMAGE as error:
        raise BadInput(f"not a predictions file: {error}") from error
