"""Nodes that measure what ships: a cell's network as an ONNX file, run by onnxruntime on the CPU."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from core import checkpoint
from core.checkpoint import WEIGHTS
from core.lazy import nn, torch
from core.metrics import Predictions, measure, predictions
from core.onnx import ExportedNetwork, export_onnx, runtime_version
from tasks.job import Place
from tasks.node import Node
from tasks.nodes import warm
from tasks.nodes.measuring import by_sets
from tasks.nodes.result import PREDICTIONS, Result
from tasks.nodes.training import node_data
from tasks.record import DECIDED_ALIKE, figure_fields
from tasks.store import Store

EXPORTED = "model.onnx"


def evaluate_export(node: Node, place: Place, store: Store) -> Result:
    """Every metric of predictions, of the network that a selection chose or an evaluation looked at, once exported.

    The file stays. Its row also says on how many of all training and test images, in percent, it decides as the
    fake-quantized network did. Raises BadInput for a network that ONNX cannot say.
    """
    (about,) = node.parents
    model = str(store.manifest(about).record.model)
    trained = store.nodes([model])[model]
    data = node_data(trained, replace(place, device="cpu"), store)
    example = data.transform.normalise(data.train.pixels[:1])
    file = export_onnx(_network(trained, data.classes, store), example, provenance={"node": model})
    network, images = ExportedNetwork(file, place.threads), {"train": data.train, "test": data.test}
    seen = {part: predictions.predict(network, each, data.transform) for part, each in images.items()}
    figures = measure("predictions", by_sets(seen, node.inputs))
    figures[DECIDED_ALIKE] = _alike(seen, predictions.unpack(store.read(model, PREDICTIONS)))
    versions = f"torch {torch.__version__}, onnxruntime {runtime_version()}"
    row = {**figure_fields(figures), "model": model, "scored": about, "versions": versions}
    return Result({EXPORTED: file, PREDICTIONS: predictions.pack(seen)}, {}, row)


def _network(trained: Node, classes: int, store: Store) -> nn.Module:
    """The fake-quantized network, on the CPU, in eval mode."""
    model = warm.blank_model(trained.inputs, classes, torch.device("cpu"))
    model.load_state_dict(checkpoint.unpack(store.read(trained.key, WEIGHTS)))
    return model.eval()


def _alike(ours: dict[str, Predictions], theirs: dict[str, Predictions]) -> float:
    """Images that both decide alike, in percent."""
    same = [ours[part].predicted == theirs[part].predicted for part in ours]
    return 100 * float(np.concatenate(same).mean())
