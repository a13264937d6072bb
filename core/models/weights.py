"""Weights that somebody else trained, from a file on this machine; nothing is downloaded, no pickle is run."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from core.errors import BadInput
from core.lazy import Tensor, nn, safetensors, torch

_COUNTERS = "num_batches_tracked"  # which old files lack, and nothing here reads


def file_digest(path: Path) -> str:
    """SHA-256, hex, of a file: what a result depends on, wherever the file lies. Raises BadInput."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise BadInput(f"{path} cannot be read ({error.strerror})") from error


def check_digest(path: Path, digest: str) -> None:
    """Raises BadInput, one line, for a file that cannot be read or has another SHA-256 than `digest`."""
    found = file_digest(path)
    if found != digest:
        raise BadInput(
            f"{path} is not the file of weights that was asked for: its SHA-256 is {found[:12]}…, not {digest[:12]}…"
        )


def load_weights_(model: nn.Module, path: Path) -> nn.Module:
    """Puts the weights of a state dict, .safetensors or torch's own format, into an unquantized model; returns it.

    The last layer stays as it is where the file has one for another number of classes. Raises BadInput, one line,
    for a file that cannot be read and for one of another network.
    """
    model.load_state_dict(_fitting(model, path))
    return model


def check_weights(model: nn.Module, path: Path) -> None:
    """Raises BadInput, as `load_weights_` does, unless the file fits the model, which may be on the meta device."""
    _fitting(model, path)


def _fitting(model: nn.Module, path: Path) -> dict[str, Tensor]:
    """The state dict that the model would have after loading."""
    own, found = model.state_dict(), _state(path)
    head = [name for name, m in model.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)][-1]
    for name in (f"{head}.weight", f"{head}.bias"):
        if name in own and name in found and own[name].shape[1:] == found[name].shape[1:]:
            found[name] = found[name] if len(found[name]) == len(own[name]) else own[name]
    _check(own, found, path)
    return {**own, **found}


def _check(own: dict[str, Tensor], found: dict[str, Tensor], path: Path) -> None:
    """Raises BadInput that says by how much, and where first, a file is not the network's."""
    missing = [name for name in own if name not in found and not name.endswith(_COUNTERS)]
    foreign = [name for name in found if name not in own]
    resized = [name for name in own if name in found and own[name].shape != found[name].shape]
    said = [
        f"it {what} {len(names)} tensors ({names[0]} …)"
        for what, names in (("lacks", missing), ("has also", foreign))
        if names
    ]
    if resized:
        first = resized[0]
        said.append(f"{first} is {tuple(found[first].shape)}, not {tuple(own[first].shape)}")
    if said:
        raise BadInput(f"{path} holds the weights of another network: {'; '.join(said)}")


def _state(path: Path) -> dict[str, Tensor]:
    try:
        if path.suffix == ".safetensors":
            found: Any = safetensors.load(path.read_bytes())
        else:
            found = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise BadInput(f"{path} cannot be read ({error.strerror or error})") from error
    except SafetensorError as error:
        raise BadInput(f"{path} is not a whole safetensors file ({error})") from error
    except Exception as error:  # torch.load raises UnpicklingError, RuntimeError, EOFError, KeyError and more
        line = str(error).strip().partition("\n")[0]
        raise BadInput(
            f"{path} is not a readable file of weights ({type(error).__name__}: {line})"
        ) from error
    if not isinstance(found, dict) or not all(isinstance(value, torch.Tensor) for value in found.values()):
        raise BadInput(f"{path} holds something else than a state dict (names and tensors)")
    return dict(found)
