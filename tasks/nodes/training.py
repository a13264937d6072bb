"""Nodes that train: originals, retrains and trials; and the data node that comes before them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import numpy as np

from core import checkpoint, quant
from core.data import Images, pool_indices, rows_of
from core.errors import BadInput, Diverged
from core.lazy import Tensor, nn, torch
from core.metrics import OUTPUTS, RetainSample, measure, outputs, predictions
from core.train import Callbacks, Forward, plain
from core.unlearn import METHODS, Participant, Problem, RetrainParams, Shared, Training, train_from_scratch
from tasks.job import Place
from tasks.node import Node, whole_trial
from tasks.nodes import heartbeat, warm
from tasks.nodes.result import MARGINS, PREDICTIONS, Curve, Result
from tasks.nodes.unfinished import Partial
from tasks.record import figure_fields
from tasks.store import Store


def prepare_data(node: Node, place: Place, _store: Store) -> Result:
    """Decodes the data set into this machine's cache; keeps its digest, to which all workers are held.

    With `content` the images must be those of that digest.
    """
    data = warm.device_data(place, {**node.inputs, "augment": False})
    _check_digest(node, data, node.inputs.get("content", data.digest))
    said = {"source": data.source, "remarks": list(data.remarks)}
    facts = {"digest": data.digest, "classes": data.classes, **said}
    return Result({}, facts, {"retain_count": len(data.train), "test_count": len(data.test)})


def train_original(node: Node, place: Place, store: Store) -> Result:
    """Trains on the whole pool: everything but the validation share, which holds no row that is `listed`.

    A `shadow` has a pool of its own. With `split_seed` the pool is that seed's, as published, and what is forgotten
    later is in part not in it. With `hook` a method takes part, and what it keeps becomes a file beside the weights.
    With `weights` it starts from the file of that SHA-256.
    """
    data, inputs = node_data(node, place, store), node.inputs
    pool = _pool(data.train.labels, inputs)
    images = data.train.select(pool)
    params = RetrainParams(**node.inputs["params"])
    curve = Curve(heartbeat.current().epoch)
    head = node_generator(node.inputs, "head of the original")
    first, pretrained = warm.first_model(place, node.inputs, data.classes, head)
    generator = node_generator(node.inputs, "original")
    partial = Partial(store, node.key, place.checkpoint_epochs)
    heartbeat.current().expect(len(images))
    callbacks = _callbacks(node, place, data, images, partial)
    part = _participant(node, first, data, pool, images, params.batch_size) if "hook" in inputs else None
    model, seconds = partial.clock.timed(
        lambda: train_from_scratch(
            first,
            images,
            data.transform,
            params,
            generator,
            curve.add,
            callbacks=callbacks,
            part=part,
            pretrained=pretrained,
        )
    )
    result = _model_result(model, data, seconds + partial.spent, curve, callbacks.forward)
    result.row["epochs"] = params.epochs
    if part is not None:
        result.files[warm.KEPT] = checkpoint.pack_tensors(part.kept())
    return result


def _pool(labels: Tensor, inputs: dict[str, Any]) -> Tensor:
    """What an original is trained on, sorted indices."""
    if "shadow" in inputs:
        parts = warm.node_split(labels, inputs)
        return torch.cat([parts.forget, parts.retain]).sort().values
    seed, listed = inputs.get("split_seed", inputs["seed"]), rows_of(inputs.get("listed", ""))
    return pool_indices(labels, inputs["validation"], seed, listed)


def _callbacks(
    node: Node, place: Place, data: warm.DeviceData, images: Images, partial: Partial
) -> Callbacks:
    """What surrounds a training on the images.

    Its state in the store, its compiled network, RA on a sample, and who is told of batches.
    """
    measure = partial.clock.untimed(RetainSample(images, data.transform))
    return Callbacks(partial, warm.forward_of(place, node.inputs["arch"]), measure, heartbeat.current().batch)


def _participant(
    node: Node, model: nn.Module, data: warm.DeviceData, pool: Tensor, images: Images, batch_size: int
) -> Participant:
    """The part in an original's training of the method that its node names. images: those of the pool."""
    inputs, part = node.inputs, node.inputs["hook"]
    hook = METHODS[part["method"]].hook
    assert hook is not None
    sensitive = None
    if "forget" in part:
        sensitive = torch.isin(pool, warm.node_split(data.train.labels, {**inputs, **part["forget"]}).forget)
    seed = node_generator(inputs, "hook").initial_seed()
    training = Training(model, images, data.transform, data.classes, batch_size, seed, sensitive)
    return hook.start(training, part["setting"])


def train_retrain(node: Node, place: Place, store: Store) -> Result:
    """Trains the reference on the retained images alone; with `weights` from the original's file."""
    data = node_data(node, place, store)
    head = node_generator(node.inputs, "head of retrain")
    model, pretrained = warm.first_model(place, node.inputs, data.classes, head)
    partial = Partial(store, node.key, place.checkpoint_epochs)
    return _unlearn(node, place, data, model, partial, pretrained=pretrained)


def run_trial(node: Node, place: Place, store: Store) -> Result:
    """Applies a method with one set of hyper-parameters to the original.

    Of a part of a trial (`until`) the state stays, for the part that goes on from it, but no weights or outputs. A
    shadow takes the hyper-parameters that its cell's selection, a third parent, has chosen.
    """
    data = node_data(node, place, store)
    if "shadow" in node.inputs:
        return _shadow_trial(_as_chosen(node, store), place, data, store)
    original, kept = warm.original_model(place, node.parents[1], node.inputs, data.classes)
    positions = _positions(node, data, store) if kept else None
    partial = Partial(store, whole_trial(node), place.checkpoint_epochs, node.inputs.get("until"))
    result = _unlearn(node, place, data, original, partial, kept, positions=positions)
    if partial.until is not None:
        del result.files[checkpoint.WEIGHTS], result.files[OUTPUTS]
    return result


def _shadow_trial(node: Node, place: Place, data: warm.DeviceData, store: Store) -> Result:
    original, kept = warm.original_model(place, node.parents[1], node.inputs, data.classes)
    positions = _positions(node, data, store) if kept else None
    partial = Partial(store, node.key, place.checkpoint_epochs)
    result = _unlearn(node, place, data, original, partial, kept, positions=positions)
    return result._replace(row=result.row | _chosen_row(node))


def _chosen_row(node: Node) -> dict[str, Any]:
    return {"params": json.dumps(node.inputs["params"], sort_keys=True), "tried": node.inputs["tried"]}


def _as_chosen(node: Node, store: Store) -> Node:
    """A shadow's trial with the hyper-parameters of its cell's selection among its inputs."""
    chosen = store.manifest(node.parents[2]).record
    inputs = node.inputs | {"params": json.loads(chosen.params or "{}"), "tried": chosen.tried}
    return replace(node, inputs=inputs)


def _unlearn(
    node: Node,
    place: Place,
    data: warm.DeviceData,
    model: nn.Module,
    partial: Partial,
    kept: Mapping[str, Tensor] = MappingProxyType({}),
    *,
    pretrained: bool = False,
    positions: tuple[Tensor, Tensor] | None = None,
) -> Result:
    inputs, method = node.inputs, METHODS[node.inputs["method"]]
    shared = warm.shared_work(place, node) if node.kind == "trial" else Shared({})
    parts = warm.node_split(data.train.labels, inputs)
    forget, retain = data.train.select(parts.forget), data.train.select(parts.retain)
    problem = Problem(
        model,
        forget,
        retain,
        data.classes,
        data.transform,
        warm.device_of(place),
        callbacks=_callbacks(node, place, data, retain, partial),
        shared=shared,
        kept=kept,
        pretrained=pretrained,
        positions=positions,
    )
    if node.kind == "retrain":
        heartbeat.current().expect(len(retain))
    curve = Curve(heartbeat.current().epoch)
    generator, params = node_generator(inputs, method.name), method.params(**inputs["params"])
    unlearned, seconds = partial.clock.timed(lambda: method.run(problem, params, generator, curve.add))
    seconds += partial.spent + shared.saved
    result = _model_result(unlearned, data, seconds, curve, problem.callbacks.forward)
    if "shadow" in inputs:
        del result.files[
            checkpoint.WEIGHTS
        ]  # an audit reads what it says about images, and nobody anything else
    else:
        sets = {"forget": problem.forget, "retain": problem.retain, "test": _remaining(data.test, inputs)}
        result.files[OUTPUTS] = outputs.pack(outputs.sampled(unlearned, sets, data.transform))
    result.row["epochs"] = partial.until or inputs["params"].get("epochs")
    if node.kind == "trial":
        result.row.update(figure_fields(measure("weights", model, unlearned)))
    return result


def _positions(node: Node, data: warm.DeviceData, store: Store) -> tuple[Tensor, Tensor]:
    """Where a trial's images to forget and to retain were in its original's pool, see `Problem.positions`."""
    original = store.nodes([node.parents[1]])[node.parents[1]].inputs
    pool = _pool(data.train.labels, original)
    parts = warm.node_split(data.train.labels, node.inputs)

    def found(part: Tensor) -> Tensor:
        at = torch.searchsorted(pool, part).clamp(max=len(pool) - 1)
        return torch.where(pool[at] == part, at, -1)

    return found(parts.forget), found(parts.retain)


def _remaining(test: Images, inputs: Mapping[str, Any]) -> Images:
    """The test images that TA is of: all, or those of the classes that stay."""
    if inputs["scenario"] != "class":
        return test
    return test.select((test.labels != int(inputs["amount"])).nonzero()[:, 0])


def _model_result(
    model: nn.Module, data: warm.DeviceData, seconds: float, curve: Curve, forward: Forward
) -> Result:
    faults = quant.quantizer_faults(model)
    if faults:
        raise Diverged("; ".join(f"quantizer {name}: {why}" for name, why in sorted(faults.items())[:3]))
    files = {checkpoint.WEIGHTS: checkpoint.pack(model), **predicted_files(model, data)}
    row: dict[str, Any] = {"seconds": seconds, "curve": curve.facts}
    if forward is not plain:
        row["versions"] = f"torch {torch.__version__}, compiled"
    return Result(files, {}, row)


def predicted_files(model: nn.Module, data: warm.DeviceData) -> dict[str, bytes]:
    """What a model says about every image, in the files that evaluations and scores read."""
    parts = {"train": data.train, "test": data.test}
    found = {
        name: predictions.predict_with_margins(model, images, data.transform)
        for name, images in parts.items()
    }
    if not all(np.isfinite(seen.confidence).all() for seen, _ in found.values()):
        raise Diverged("the model's probabilities are not finite")
    return {
        PREDICTIONS: predictions.pack({name: seen for name, (seen, _) in found.items()}),
        MARGINS: predictions.pack_margins({name: margins for name, (_, margins) in found.items()}),
    }


def node_data(node: Node, place: Place, store: Store) -> warm.DeviceData:
    """The node's images, which must be the ones the store's data node saw."""
    data = warm.device_data(place, node.inputs)
    _check_digest(node, data, store.manifest(node.parents[0]).facts["digest"])
    return data


def _check_digest(node: Node, data: warm.DeviceData, expected: str) -> None:
    if data.digest != expected:
        raise BadInput(
            f"the {node.inputs['dataset']} images here (digest {data.digest[:12]}) are not those this store was made"
            f" from ({expected[:12]}): use the same files, or another --store"
        )


def node_generator(inputs: dict[str, object], role: str) -> torch.Generator:
    """A CPU generator seeded by the node's seed, shadow and role, so that all of them draw independent numbers."""
    shadow = inputs.get("shadow")
    who = f"{inputs['seed']}/shadow {shadow['number']}" if isinstance(shadow, dict) else f"{inputs['seed']}"
    digest = hashlib.sha256(f"{who}/{role}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))
