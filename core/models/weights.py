"""Weights that somebody else trained, from a file on this machine; nothing is downloaded, no pickle is run."""

from __future__ import annotations

import hashlib
import re
import warnings
from collections.abc import Collection, Sequence
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

from safetensors import SafetensorError

from core.errors import BadInput
from core.lazy import Tensor, nn, safetensors, torch

_COUNTERS = "num_batches_tracked"  # which old files lack, and nothing here reads
# what checkpoints call the state dict in them, the first that is there; and what wrappers put before every name
_WRAPPERS = ("state_dict", "model_state_dict", "model", "module", "network", "net")
_PREFIXES = ("module.", "_orig_mod.", "model.", "network.", "net.")
_NAMED = 3  # names in a line


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

    A checkpoint that holds the state dict under one of its usual names, such as {"model": …, "epoch": 7}, is unwrapped,
    and so are names that all begin with `module.`, as parallel and compiled networks write them.
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
    own = model.state_dict()
    found = _plain_names(_state(path), own)
    head = [name for name, m in model.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)][-1]
    for name in (f"{head}.weight", f"{head}.bias"):
        if name in own and name in found and own[name].shape[1:] == found[name].shape[1:]:
            found[name] = found[name] if len(found[name]) == len(own[name]) else own[name]
    _check(own, found, path)
    return {**own, **found}


def _plain_names(found: dict[str, Tensor], own: Collection[str]) -> dict[str, Tensor]:
    """The state dict without what a wrapper put before every name; a network's own names stay."""
    for prefix in _PREFIXES * 2:  # a parallel network may be compiled, and a compiled one parallel
        if found and not found.keys() & own and all(name.startswith(prefix) for name in found):
            found = {name.removeprefix(prefix): tensor for name, tensor in found.items()}
    return found


def _check(own: dict[str, Tensor], found: dict[str, Tensor], path: Path) -> None:
    """Raises BadInput that says by how much, and where first, a file is not the network's."""
    missing = [name for name in own if name not in found and not name.endswith(_COUNTERS)]
    foreign = [name for name in found if name not in own]
    resized = [
        f"{name} is {tuple(found[name].shape)}, not {tuple(own[name].shape)}"
        for name in own
        if name in found and own[name].shape != found[name].shape
    ]
    said = [
        f"it {what} {len(names)} tensors ({_some(names)})"
        for what, names in (("lacks", missing), ("has also", foreign))
        if names
    ]
    if resized:
        said.append(_some(resized))
    if said:
        raise BadInput(f"{path} holds the weights of another network: {'; '.join(said)}")


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_NAMED]) + (" …" if len(names) > _NAMED else "")


def _state(path: Path) -> dict[str, Tensor]:
    try:
        if path.suffix == ".safetensors":
            found: Any = safetensors.load(path.read_bytes())
        else:
            found = _loaded(path)
    except OSError as error:
        raise BadInput(f"{path} cannot be read ({error.strerror or error})") from error
    except SafetensorError as error:
        raise BadInput(f"{path} is not a whole safetensors file ({error})") from error
    except UnpicklingError as error:
        raise _unsafe(path, error) from error
    except Exception as error:  # torch.load raises UnpicklingError, RuntimeError, EOFError, KeyError and more
        line = str(error).strip().partition("\n")[0]
        raise BadInput(
            f"{path} is not a readable file of weights ({type(error).__name__}: {line})"
        ) from error
    return _unwrapped(found, path)


def _loaded(path: Path) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore"
        )  # of pickles by other programs, which are refused in a line of our own
        return torch.load(path, map_location="cpu", weights_only=True)


def _unwrapped(found: Any, path: Path) -> dict[str, Tensor]:
    """The state dict in what a file holds. Raises BadInput, which says what is there instead."""
    while isinstance(found, dict):
        if found and all(isinstance(value, torch.Tensor) for value in found.values()):
            return dict(found)
        inside = next((name for name in _WRAPPERS if isinstance(found.get(name), dict)), None)
        if inside is None:
            break
        found = found[inside]
    held = (
        f"a dict of {_some([str(name) for name in found])}"
        if isinstance(found, dict)
        else type(found).__name__
    )
    raise BadInput(
        f"{path} holds something else than a state dict (names and tensors), or one under {' or '.join(_WRAPPERS[:3])}:"
        f" {held}"
    )


def _unsafe(path: Path, error: UnpicklingError) -> BadInput:
    """The error for a pickle that asks for more than tensors, which whoever wrote it could use to run anything."""
    asked = re.search(r"GLOBAL (\S+)", str(error))
    what = f"asks for {asked[1]}" if asked else "is no file of tensors alone"
    return BadInput(
        f"{path} {what}, and reading it could run anything, so it is refused; if you trust it, write its weights alone"
        f" with torch.save(model.state_dict(), FILE) where it was made"
    )
