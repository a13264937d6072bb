"""Weights on disk: safetensors plus a JSON manifest, each written atomically, the manifest last; no pickle."""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from core.errors import BadInput
from core.lazy import Tensor, nn, safetensors

WEIGHTS, MANIFEST = "model.safetensors", "manifest.json"


def pack(model: nn.Module) -> bytes:
    """The model's whole state (weights, buffers, quantizer state) as safetensors bytes."""
    return pack_tensors(model.state_dict())


def pack_tensors(tensors: Mapping[str, Tensor]) -> bytes:
    """Named tensors as safetensors bytes; `unpack` is the inverse."""
    return safetensors.save({name: t.detach().cpu().contiguous() for name, t in tensors.items()})


def unpack(data: bytes) -> dict[str, Tensor]:
    """The state behind `pack`; BadInput if the bytes are not a whole safetensors file."""
    try:
        return safetensors.load(data)
    except SafetensorError as error:
        raise BadInput(f"not a whole safetensors file: {error}") from error


def write_atomically(path: Path, data: bytes) -> None:
    """Writes a file so that other processes see all of it or none of it, also after a power cut."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        with temporary.open("xb") as file:  # unlike mkstemp: readable by whom the umask says
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def save(folder: Path, model: nn.Module, facts: Mapping[str, Any]) -> None:
    """Saves a model with facts about it (JSON values); it is there once the manifest is.

    The weights are named by their digest, so that saving over a checkpoint leaves the old one whole until
    the new manifest is in place.
    """
    data = pack(model)
    digest = hashlib.sha256(data).hexdigest()
    name = f"model-{digest[:16]}.safetensors"
    write_atomically(folder / name, data)
    manifest = {**facts, "weights": name, "sha256": digest}
    write_atomically(folder / MANIFEST, json.dumps(manifest, indent=1, sort_keys=True).encode())
    for old in folder.glob("model-*.safetensors"):
        if old.name != name:
            old.unlink()


def load(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """State and manifest of a saved model; BadInput if either is missing or the weights are not as saved."""
    try:
        manifest = json.loads((folder / MANIFEST).read_bytes())
        weights = folder / Path(manifest["weights"]).name
        data, expected = weights.read_bytes(), manifest["sha256"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadInput(f"no usable checkpoint in {folder}: {error!r}") from error
    if hashlib.sha256(data).hexdigest() != expected:
        raise BadInput(f"{weights} is corrupt: its SHA-256 is not the manifest's")
    return unpack(data), manifest
