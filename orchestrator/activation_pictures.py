"""Class activation maps of forgotten images, before and after one method or several and of Retrain, as one picture.

python -m orchestrator.activation_pictures --store STORE --method amnesiac --out maps.png [--class 3] [--images 6]
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer

from core.checkpoint import write_atomically
from core.data import Images, Transform
from core.errors import BadInput
from core.lazy import nn, no_grad, torch
from core.metrics import activation_maps
from orchestrator import environment
from orchestrator.cli import speak_any_encoding
from orchestrator.grid import exit_code
from orchestrator.plan import Cell
from orchestrator.report import FORMATS, PictureRow, picture
from orchestrator.results import Entry, Row, known_grids, models
from orchestrator.spec import titles
from tasks import Node
from tasks.nodes import node_data, warm
from tasks.store import Store


def draw(store: Store, methods: str | Sequence[str], out: Path, images: int = 6, **wanted: Any) -> None:
    """Writes the picture of one or several methods' cells on one problem, PNG, PDF or SVG by its name.

    Its rows are the images, and their maps by the methods' original, each method and Retrain; above each map stands the
    network's probability of the image's label. Methods that changed different networks come with their original each.
    images: how many of the forget set, the first ones. wanted: the cells' coordinates, as `load_model` takes them.
    Raises BadInput if no cell or several are meant by a method, and if weights or images are not there.
    """
    form = out.suffix[1:].lower()
    if form not in FORMATS:
        raise BadInput(f"--out {out}: name it {' or '.join(f'{out.stem}.{known}' for known in FORMATS)}")
    labels = [methods] if isinstance(methods, str) else dict.fromkeys(methods)
    cells = [_unlearned(store, label, wanted) for label in labels]
    shown, transform = _forgotten(store, cells[0].trial, images)
    titles = [f"label {label}" for label in shown.labels.tolist()]
    rows = [PictureRow("Forgotten\nimages", shown.pixels.permute(0, 2, 3, 1), titles)]
    for name, model in _models(store, cells):
        maps = activation_maps(model, shown, transform)
        rows.append(PictureRow(name, maps, _certain(model, shown, transform)))
    try:
        write_atomically(out, picture(rows, _heading(cells[0].entry.cell), form))
    except OSError as error:
        raise BadInput(f"--out {out} cannot be written ({error.strerror})") from error


class _Unlearned(NamedTuple):
    """A method's cell, the trial that its selection chose, and Retrain's row."""

    entry: Entry
    trial: Node
    reference: Row

    @property
    def title(self) -> str:
        return titles.title(self.entry.cell.method)


def _unlearned(store: Store, method: str, wanted: dict[str, Any]) -> _Unlearned:
    row, entry = models.find(store, method, wanted)
    trial = store.nodes([row["model"]])[row["model"]]
    if trial.kind != "trial" or entry.reference is None:
        raise BadInput(
            f"--method {method} forgets nothing: name a method whose maps to compare with Retrain's"
        )
    return _Unlearned(entry, trial, entry.reference)


def _models(store: Store, cells: Sequence[_Unlearned]) -> Iterator[tuple[str, nn.Module]]:
    """The networks of the picture with their names: each original before the methods that changed it, then Retrain."""
    groups = _by_original(store, cells)
    for original, changed in groups:
        # of a method that takes part in the training there are originals of its own, which need not be the same
        whose = "" if len(groups) == 1 else f" {', '.join(cell.title for cell in changed)}"
        yield f"Before{whose}", original
        for cell in changed:
            yield cell.title, _network(store, cell.trial.key)
    yield "Retrain", _network(store, cells[0].reference["model"])


def _by_original(store: Store, cells: Sequence[_Unlearned]) -> list[tuple[nn.Module, list[_Unlearned]]]:
    """The methods by the network that they changed; recording a training alone leaves the same weights."""
    groups: list[tuple[nn.Module, list[_Unlearned]]] = []
    for cell in cells:
        original = _network(store, cell.trial.parents[1])
        same = next((changed for known, changed in groups if _equal(known, original)), None)
        if same is None:
            groups.append((original, [cell]))
        else:
            same.append(cell)
    return groups


def _equal(one: nn.Module, other: nn.Module) -> bool:
    theirs = other.state_dict()
    return all(torch.equal(tensor, theirs[name]) for name, tensor in one.state_dict().items())


def _network(store: Store, key: str) -> nn.Module:
    return models.load_node(store, key, torch.device("cpu"))


def _forgotten(store: Store, trial: Node, count: int) -> tuple[Images, Transform]:
    """The first images of a trial's forget set, on the CPU, and how its networks read them."""
    spec = known_grids.stored_grid(store)
    assert spec is not None  # it named the trial
    place = replace(environment.make_place(spec, store.address), device="cpu")
    data = node_data(trial, place, store)
    return data.train.select(warm.node_split(data.train.labels, trial.inputs).forget[:count]), data.transform


@no_grad
def _certain(model: nn.Module, images: Images, transform: Transform) -> list[str]:
    """The probability that a network gives each image's own label, in words."""
    probabilities_NK = model(transform.normalise(images.pixels)).softmax(1)
    return [f"{100 * p:.0f} %" for p in probabilities_NK.gather(1, images.labels[:, None])[:, 0].tolist()]


def _heading(cell: Cell) -> str:
    """Which problem, and how to read the numbers and the maps that are dark all over."""
    network, forgotten = (
        f"{titles.title(cell.arch)} {cell.quant}",
        titles.scenario(cell.scenario, cell.amount),
    )
    return (
        f"{titles.title(cell.dataset)} · {network} · {forgotten} · seed {cell.seed}\n"
        "in percent: the network's probability of the label; all dark: nothing speaks for it"
    )


def _command(
    store: Annotated[str, typer.Option(help="folder or URI of the results")],
    method: Annotated[list[str], typer.Option(help="a label of the grid, such as amnesiac; may be repeated")],
    out: Annotated[Path, typer.Option(help="the picture: .png, .pdf or .svg")],
    images: Annotated[int, typer.Option(min=1, max=24, help="how many of the forget set")] = 6,
    dataset: Annotated[str | None, typer.Option(help="where the grid has several, as what follows")] = None,
    arch: str | None = None,
    quant: str | None = None,
    label: Annotated[int | None, typer.Option("--class", help="the forgotten class")] = None,
    ratio: Annotated[float | None, typer.Option(help="the share forgotten at random")] = None,
    seed: int | None = None,
) -> None:
    """Class activation maps of forgotten images: before and after each method, and Retrain's."""
    forgotten = {"amount": ratio} if label is None else {"scenario": "class", "amount": float(label)}
    at: dict[str, Any] = {"dataset": dataset, "arch": arch, "quant": quant, "seed": seed, **forgotten}
    draw(Store(environment.store_uri(store, "")), method, out, images, **at)


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line; returns its exit code."""
    speak_any_encoding()
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
    app.command()(_command)
    return exit_code(lambda: app(arguments, standalone_mode=False))


if __name__ == "__main__":
    sys.exit(main())
