"""A model's probabilities on a fixed sample, kept so that its distance to Retrain needs no accelerator later."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import numpy as np

from core.data import Images, Transform
from core.errors import BadInput
from core.lazy import Tensor, nn, torch
from core.metrics.predictions import DAMAGE, probabilities

OUTPUTS = "outputs.npz"
SAMPLE = 1000  # images of a set; the standard error of a mean distance is then below 0.03


def sampled(model: nn.Module, sets: Mapping[str, Images], transform: Transform) -> dict[str, Tensor]:
    """The model's probabilities (float16, n x classes, on the CPU) on a sample of each set, the same for all models."""
    return {
        name: probabilities(model, images.evenly(SAMPLE), transform).half().cpu()
        for name, images in sets.items()
    }


def pack(outputs: Mapping[str, Tensor]) -> bytes:
    """Named outputs as one compressed array file."""
    buffer = io.BytesIO()
    arrays: dict[str, Any] = {name: t.numpy() for name, t in outputs.items()}
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def unpack(data: bytes) -> dict[str, Tensor]:
    """The inverse of `pack`; BadInput if the bytes are not such a file. Never unpickles."""
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            return {name: torch.from_numpy(file[name]) for name in file.files}
    except DAMAGE as error:
        raise BadInput(f"not an outputs file: {error}") from error
