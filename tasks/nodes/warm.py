"""What a long-lived worker keeps between nodes: images on the device, splits, and the original model.

Each cache holds the last few of its kind; a slot that gets nodes of one affinity in a row loads nothing twice.
"""

from __future__ import annotations

import json
import warnings
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from core import checkpoint, models
from core.data import (
    Images,
    Limit,
    Split,
    Transform,
    load,
    rows_of,
    scenario_kind,
    shadow_split,
    split,
)
from core.errors import BadInput
from core.lazy import Tensor, nn, torch
from core.models import check_digest
from core.quant import QuantSpec
from core.train import Forward, compiled, plain
from core.unlearn import METHODS, Hook, Memory, Setting, Shared
from tasks.job import Place
from tasks.node import Node
from tasks.nodes.folders import data_folders
from tasks.store import Store

KEPT = "kept.safetensors"  # what a method's part in an original's training left


class DeviceData(NamedTuple):
    """A data set on the device: all training images, all test images, the transform, classes, digest.

    source, remarks: what it was read from, and what a person should know of the files.
    """

    train: Images
    test: Images
    transform: Transform
    classes: int
    digest: str
    source: str
    remarks: tuple[str, ...]


def device_of(place: Place) -> torch.device:
    """The device of a place; "auto" is CUDA where there is one."""
    if place.device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if place.device == "cuda" and not torch.cuda.is_available():
        raise BadInput("resources.device=cuda, but this worker sees no CUDA device (nearest: auto)")
    return torch.device(place.device)


def device_data(place: Place, inputs: dict[str, Any]) -> DeviceData:
    """The node's data set on the place's device, from the warm cache if it is there."""
    return _device_data(
        inputs["dataset"],
        json.dumps(inputs["limit"]),
        inputs.get("test_share"),
        inputs["augment"],
        *data_folders(place.data_root, place.cache),
        place.download,
        device_of(place),
    )


@lru_cache(maxsize=2)
def _device_data(
    name: str,
    limit: str,
    test_share: float | None,
    augment: bool,
    root: Path,
    cache: Path,
    download: bool,
    device: torch.device,
) -> DeviceData:
    bounds = json.loads(limit)
    limits = Limit(**bounds) if bounds else None
    data = load(name, root, cache=cache, limit=limits, download=download, test_share=test_share)
    transform = Transform(
        data.mean, data.std, data.crop_padding if augment else 0, data.flip if augment else False
    )
    return DeviceData(
        Images(data.train_images, data.train_labels).to(device),
        Images(data.test_images, data.test_labels).to(device),
        transform,
        data.classes,
        data.digest,
        data.source,
        data.remarks,
    )


def node_split(labels: Tensor, inputs: dict[str, Any]) -> Split:
    """The split that a node's inputs describe: a problem's, or that of a shadow in its audit."""
    seed, validation, listed = inputs["seed"], inputs["validation"], rows_of(inputs.get("listed", ""))
    if "shadow" in inputs:
        shadow = inputs["shadow"]
        return shadow_split(labels, shadow["amount"], seed, validation, shadow["number"], listed)
    return split(labels, scenario_kind(inputs["scenario"]), inputs["amount"], seed, validation, listed)


def blank_model(inputs: dict[str, Any], classes: int, device: torch.device) -> nn.Module:
    """The node's network on the device, with weights of no consequence (training or loading replaces them)."""
    return _built(inputs, classes, torch.Generator().manual_seed(0)).to(device)


def first_model(
    place: Place, inputs: dict[str, Any], classes: int, generator: torch.Generator
) -> tuple[nn.Module, bool]:
    """What a training starts with, on the device, and whether its weights are a file's and to stay.

    generator: draws what the file has not, a head for other classes.
    """
    digest = inputs.get("weights")
    if digest is None:
        return blank_model(inputs, classes, device_of(place)), False
    file = Path(place.weights[inputs["arch"]])
    check_digest(file, digest)  # every machine may have its own file there
    return _built(inputs, classes, generator, file).to(device_of(place)), True


def _built(
    inputs: dict[str, Any], classes: int, generator: torch.Generator, weights: Path | None = None
) -> nn.Module:
    """An architecture's network, or what the hook of a method makes of it."""
    model = models.build(
        inputs["arch"],
        classes,
        generator=generator,
        width=inputs["width"],
        quant=QuantSpec.parse(inputs["quant"]),
        weights=weights,
    )
    hook, setting = hook_of(inputs)
    return model if hook is None else hook.built(model, setting)


def hook_of(inputs: dict[str, Any]) -> tuple[Hook | None, Setting]:
    """The hook that may have built a network, and its setting: of an original's, or of a trial's method."""
    if "hook" in inputs:
        return METHODS[inputs["hook"]["method"]].hook, inputs["hook"]["setting"]
    if "method_revision" not in inputs:  # the plain original
        return None, {}
    method = METHODS[inputs["method"]]
    if method.hook is None or method.hook.build is None:
        return None, {}
    return method.hook, method.hook.setting(method.params(**inputs["params"]))


class Original(NamedTuple):
    """A trained original in eval mode, and what a method's part in its training kept; on the device."""

    model: nn.Module
    kept: dict[str, Tensor]


def original_model(place: Place, key: str, inputs: dict[str, Any], classes: int) -> Original:
    """The original with the given key, from the warm cache if it is there."""
    network = {name: inputs[name] for name in ("arch", "width", "quant")}
    hook, setting = hook_of(inputs)
    if hook is not None:
        network["hook"] = {"method": inputs["method"], "setting": dict(setting)}
    arguments = json.dumps(network, sort_keys=True)
    return _original_model(place.store, key, arguments, classes, device_of(place))


@lru_cache(maxsize=2)
def _original_model(store: str, key: str, arguments: str, classes: int, device: torch.device) -> Original:
    model, opened = blank_model(json.loads(arguments), classes, device), Store(store)
    model.load_state_dict(checkpoint.unpack(opened.read(key, checkpoint.WEIGHTS)))
    hooked = KEPT in opened.manifest(key).files
    kept = checkpoint.unpack(opened.read(key, KEPT)) if hooked else {}
    return Original(model.eval(), {name: t.to(device) for name, t in kept.items()})


def forward_of(place: Place, arch: str) -> Forward:
    """How networks of an architecture compute their logits in training.

    BadInput if they must be compiled and cannot be here; if they only should, they are not.
    """
    if arch not in place.compiled:
        return plain
    try:
        return compiled(device_of(place))
    except BadInput as error:
        if place.must_compile:
            raise
        warnings.warn(str(error), stacklevel=2)
        return plain


def shared_work(place: Place, node: Node) -> Shared:
    """What earlier trials of the node's problem left on this worker; the last problem's only."""
    inputs = node.inputs
    return Shared(
        _shared_work(place.store, node.parents, inputs["scenario"], inputs["amount"], inputs["seed"])
    )


@lru_cache(maxsize=1)
def _shared_work(
    _store: str, _parents: tuple[str, ...], _scenario: str, _amount: float, _seed: int
) -> Memory:
    return {}


def clear() -> None:
    """Empties the caches (after a corrupt file, or between tests)."""
    _device_data.cache_clear()
    _original_model.cache_clear()
    _shared_work.cache_clear()
