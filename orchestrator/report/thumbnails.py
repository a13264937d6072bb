"""A few forgotten images of every problem for the page, with what the original and Retrain make of them.

Those of published data sets are shown unless they are not wanted; one's own only where they are asked for: a page is
passed on, and who asked to be forgotten does not expect to be pictured in it.
"""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from core.data import DATASETS, decoded_training, rows_of, scenario_kind, split_indices
from core.errors import BadInput
from core.metrics import Predictions, predictions
from orchestrator.environment import data_folders_of
from orchestrator.plan import Cell, Plan, data_node
from orchestrator.report.tables import Table
from orchestrator.results import Entry
from orchestrator.spec import GridSpec, class_name, titles
from tasks import Node
from tasks.nodes import PREDICTIONS
from tasks.store import Corrupt, Store

SHOWN = 8  # of a problem
_SIDE = 64  # pixels of one at most
_EXACT = 32  # up to so many pixels it is kept as it is, larger ones as JPEG
_JUDGES = {titles.ORIGINAL: "original", "retrain": "Retrain"}


@dataclass(frozen=True)
class Thumbnail:
    """source: a data: address. label: the image's own, in words. said: each network's probability of it, in words."""

    source: str
    label: str
    said: tuple[str, ...]


@dataclass(frozen=True)
class Gallery:
    """Forgotten images of one problem, and what they are."""

    about: str
    shown: tuple[Thumbnail, ...]


def galleries(
    store: Store,
    spec: GridSpec,
    plan: Plan,
    tables: Sequence[Table],
    entries: Sequence[Entry],
    wanted: bool | None,
) -> list[Gallery | None]:
    """The images of each table. wanted: all of them, or none; None: those of published data sets.

    None for a table whose images do not lie here, decoded and with the digest that the store's results are of.
    """
    return [
        _gallery(store, spec, plan, table.at, entries) if _may(table.at, wanted) else None for table in tables
    ]


def _may(at: Cell, wanted: bool | None) -> bool:
    """Of entries that other packages bring nobody knows here whether they were published."""
    published = at.dataset in DATASETS and DATASETS.digest(at.dataset) is None
    return published if wanted is None else wanted


def _gallery(store: Store, spec: GridSpec, plan: Plan, at: Cell, entries: Sequence[Entry]) -> Gallery | None:
    node = plan.nodes[plan.originals[at.problem]]
    data = data_node(spec, at.dataset)
    found = _images(store, spec, data)
    if found is None:
        return None
    images, labels = found
    kind, listed = scenario_kind(at.scenario), rows_of(node.inputs.get("listed", ""))
    amount, seed, validation = (node.inputs[name] for name in ("amount", "seed", "validation"))
    forget = split_indices(labels, kind, amount, seed, validation, listed)[0]
    shown = forget[np.arange(min(SHOWN, len(forget))) * len(forget) // min(SHOWN, len(forget))]
    judged = _judged(store, at, entries)
    thumbnails = tuple(
        Thumbnail(
            _address(images[n].tobytes(), images[n].shape), _label(at.dataset, labels[n]), _said(judged, n)
        )
        for n in shown.tolist()
    )
    return Gallery(_about(len(thumbnails), len(forget), at, bool(judged)), thumbnails)


def _images(store: Store, spec: GridSpec, data: Node) -> tuple[np.ndarray, np.ndarray] | None:
    """The training images and labels that a grid's results are of; None unless they lie here."""
    manifest = store.manifests([data.key], broken={}).get(data.key)
    if manifest is None:
        return None
    keep = (data.inputs["limit"] or {}).get("train")
    name, share = data.inputs["dataset"], spec.data.test_share
    return _training(name, *data_folders_of(spec), str(manifest.facts["digest"]), keep, share)


@lru_cache(maxsize=1)  # the tables of one data set follow each other
def _training(
    name: str, root: Path, cache: Path, digest: str, keep: int | None, share: float | None
) -> tuple[np.ndarray, np.ndarray] | None:
    return decoded_training(name, root, cache, digest, keep=keep, test_share=share)


def _judged(store: Store, at: Cell, entries: Sequence[Entry]) -> dict[str, Predictions]:
    """What the original and Retrain predict of the training images, by their name; nothing that is not there."""
    models = {
        _JUDGES[entry.cell.method]: entry.row["model"]
        for entry in entries
        if entry.row and entry.cell.method in _JUDGES and entry.cell.problem == at.problem
    }
    found = {}
    for name, key in models.items():
        try:
            found[name] = predictions.unpack(store.read(key, PREDICTIONS))["train"]
        except (Corrupt, BadInput, OSError, KeyError):
            continue  # a picture without its figures is still one
    return found


def _said(judged: dict[str, Predictions], number: int) -> tuple[str, ...]:
    """`original 98 %` and `Retrain 3 %`."""
    return tuple(f"{name} {100 * float(p.confidence[number]):.0f} %" for name, p in judged.items())


def _label(dataset: str, label: Any) -> str:
    return class_name(dataset, int(label)) or f"class {int(label)}"


def _about(shown: int, among: int, at: Cell, judged: bool) -> str:
    those = (
        f"{shown} of the {among:,} forgotten images" if shown < among else f"The {among:,} forgotten images"
    )
    beneath = ", and the probability that the networks give it" if judged else ""
    return f"{those} of seed {at.seed}, evenly spread. Beneath each: its label{beneath}."


@lru_cache(maxsize=4096)
def _address(pixels: bytes, shape: tuple[int, int, int]) -> str:
    """An image, uint8 C x H x W, as the text of a data: address."""
    from PIL import Image

    picture = Image.fromarray(np.frombuffer(pixels, np.uint8).reshape(shape).transpose(1, 2, 0))
    picture.thumbnail((_SIDE, _SIDE))
    file = io.BytesIO()
    if max(picture.size) <= _EXACT:
        kind = "png"
        picture.save(file, "PNG", optimize=True)
    else:
        kind = "jpeg"
        picture.save(file, "JPEG", quality=85)
    return f"data:image/{kind};base64,{base64.b64encode(file.getvalue()).decode()}"
