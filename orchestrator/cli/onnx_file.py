"""The verb `export`: a cell's network as an ONNX file, compared with it before it is written."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console

from core.checkpoint import write_atomically
from core.data import Images, Transform
from core.errors import BadInput
from core.lazy import Tensor, nn, torch
from core.onnx import Agreement, ExportedNetwork, export_onnx, layer_by_layer
from orchestrator import environment
from orchestrator.cli.options import Export, Options
from orchestrator.cli.printing import say_json, say_sentences
from orchestrator.results import Row, models
from orchestrator.spec import GridSpec, titles
from tasks import Node
from tasks.nodes import node_data
from tasks.store import Store, nearby

COMPARED, LAYERED = 1000, 16  # images whose decisions are compared, and of them those compared node by node
LARGEST_ERROR = 1e-5  # of an operation's output, relative to its largest magnitude; rounding is 2e-6 at most
_SAID = (
    "dataset",
    "arch",
    "quant",
    "scenario",
    "amount",
    "method",
    "params",
    "seed",
    "fa",
    "ra",
    "ta",
    "mia",
)


class Check(NamedTuple):
    """What onnxruntime computed from the file beside the network.

    layers: every operation, of a file that is the same network; else none. alike: share (0-1) of images that both
    decide alike, of so many.
    """

    layers: Sequence[Agreement]
    alike: float
    images: int


def export(spec: GridSpec, store: Store, options: Options, console: Console) -> int:
    """Writes the network of one cell, and says how far the file computes the same."""
    asked, out = options.export, _checked(options.export)
    row, _ = models.find(store, str(asked.method), dict(asked.cell))
    node = store.nodes([row["model"]])[row["model"]]
    model = models.load_node(store, node.key, torch.device("cpu"))
    images, transform = _test_images(spec, store, node)
    batch = transform.normalise(images.pixels)
    data = export_onnx(
        model,
        batch[:LAYERED],
        provenance=_provenance(row, node, transform),
        fold_batchnorm=asked.fold_batchnorm,
        snap_offsets=asked.snap_offsets,
    )
    check = _check(model, data, batch, whole=not (asked.fold_batchnorm or asked.snap_offsets))
    _write(out, data)
    facts = {"file": str(out), "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()} | _facts(check)
    if options.as_json:
        say_json(console, facts)
    else:
        say_sentences(console, _lines(row, out, data, check, asked))
    return 0


def _checked(asked: Export) -> Path:
    """The file, as far as it can be seen beforehand that it can be written."""
    if asked.method is None:
        raise BadInput("export needs --method, such as qmul, retrain, original or best: whose network?")
    if asked.out is None:
        raise BadInput(f"export needs --out FILE, such as --out {asked.method.partition(':')[0]}.onnx")
    if asked.out.is_dir():
        raise BadInput(
            f"--out {asked.out} is a folder: name a file in it, such as {asked.out / 'network.onnx'}"
        )
    return asked.out


def _test_images(spec: GridSpec, store: Store, node: Node) -> tuple[Images, Transform]:
    """Images for the comparison, and how the network reads them."""
    place = replace(environment.make_place(spec, store.address), device="cpu")
    data = node_data(node, place, store)
    return data.test.evenly(COMPARED), data.transform


def _provenance(row: Row, node: Node, transform: Transform) -> dict[str, str]:
    """What the file says of where it comes from, and of how its input is normalised; no path is in it."""
    said = {name: str(row[name]) for name in _SAID if row.get(name) is not None}
    return said | {
        "width": str(node.inputs["width"]),
        "node": node.key,
        "code_revision": str(row["code_revision"]),
        "input": "RGB images N x 3 x H x W, (value / 255 - mean) / std",
        "mean": ", ".join(map(str, transform.mean)),
        "std": ", ".join(map(str, transform.std)),
    }


def _check(model: nn.Module, data: bytes, batch: Tensor, *, whole: bool) -> Check:
    """The file beside the network; BadInput where it does not compute the same. whole: it is to be the same network."""
    layers = layer_by_layer(model, data, batch[:LAYERED]) if whole else []
    for layer in layers:
        if layer.differing or layer.error > LARGEST_ERROR:
            raise BadInput(
                f"export: onnxruntime computes otherwise at {layer.name} ({layer.differing} of {layer.codes} codes"
                f" differ, error {layer.error:.1e}); nothing was written: try another version of onnxruntime"
            )
    with torch.no_grad():
        alike = ExportedNetwork(data)(batch).argmax(1) == model(batch).argmax(1)
    return Check(layers, float(alike.float().mean()), len(batch))


def _facts(check: Check) -> dict[str, Any]:
    return {
        "codes": sum(layer.codes for layer in check.layers),
        "differing_codes": sum(layer.differing for layer in check.layers),
        "largest_error": max((layer.error for layer in check.layers), default=None),
        "decided_alike": check.alike,
        "images": check.images,
    }


def _write(out: Path, data: bytes) -> None:
    try:
        write_atomically(out, data)
    except OSError as error:
        raise BadInput(f"--out {out} cannot be written: {error.strerror or error}") from error


def _lines(row: Mapping[str, Any], out: Path, data: bytes, check: Check, asked: Export) -> list[str]:
    """What was written, and how it compares."""
    method, dataset, arch = (titles.title(row[name]) for name in ("method", "dataset", "arch"))
    lines = [f"{method} on {dataset}, {arch} {row['quant']}: {len(data):,} bytes in {nearby(str(out))}"]
    if check.layers:
        facts = _facts(check)
        lines.append(
            f"onnxruntime, node by node: {facts['differing_codes']:,} of {facts['codes']:,} codes differ, sums by"
            f" {facts['largest_error']:.0e} of the largest at most"
        )
    lines.append(f"decided alike: {100 * check.alike:.2f} % of {check.images:,} test images")
    if asked.snap_offsets:
        lines.append(
            "offsets are whole numbers of steps: another network, whose figures the store does not have"
        )
    return lines
