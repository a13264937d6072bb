"""Pictures of activation maps: the right models in the right rows, whole files, and one line for what is wrong."""

import io
import json
import shutil

import numpy as np
import pytest
import torch
from matplotlib import colormaps
from PIL import Image

from core.checkpoint import WEIGHTS
from core.data import Limit, load
from core.data.loader import Images, Transform
from core.metrics.grad_cam import activation_maps
from orchestrator import activation_pictures, grid, load_model
from orchestrator.report.activation_figure import PictureRow, picture
from orchestrator.results.reading import load_results
from tasks.store.store import Store

GRID = {
    "datasets": "digits",
    "archs": "lenet",
    "quantizers": "4w4a",
    "classes": [3, 5],
    "methods": ["retrain", "ga", "amnesiac:affected=0.2", "amnesiac:affected=0.2:fraction=0.5"],
    "data": {"limit": 120},
    "original": {"epochs": 2, "batch_size": 32},
    "retrain": {"epochs": 2},
    "params": {"ga": {"epochs": 1, "lr": 1e-3}},
    "search": {"trials": 1},
    "tracking": {"enabled": False},
}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("maps")
    (folder / "grid.json").write_text(json.dumps(GRID))
    arguments = ["--spec", str(folder / "grid.json"), "--store", str(folder / "s"), "--executor", "inline"]
    assert grid.main(["run", *arguments, "--json"]) == 0
    return folder / "s"


def command(store, out, *arguments):
    return activation_pictures.main(["--store", str(store), "--out", str(out), *arguments])


@pytest.mark.parametrize(
    ("method", "original"),
    [("ga", "original"), ("amnesiac:affected=0.2", "original:amnesiac:affected=0.2")],
)
def test_rows_are_the_images_the_methods_own_original_the_method_and_retrain(
    method, original, store, tmp_path, monkeypatch
):
    seen = []
    monkeypatch.setattr(activation_pictures, "picture", lambda rows, *_: seen.extend(rows) or b"drawn")
    assert command(store, tmp_path / "x.png", "--method", method, "--class", "3", "--images", "4") == 0
    assert (tmp_path / "x.png").read_bytes() == b"drawn"
    images, *maps = seen
    data = load("digits", tmp_path, cache=tmp_path, limit=Limit(120, 120))
    assert list(images.titles) == ["label 3"] * 4
    threes = data.train_images[data.train_labels == 3].permute(0, 2, 3, 1)
    assert all(any(torch.equal(shown, three) for three in threes) for shown in images.pictures)
    shown = Images(images.pictures.permute(0, 3, 1, 2), torch.full((4,), 3))
    transform = Transform(data.mean, data.std)
    for row, label in zip(maps, (original, method, "retrain"), strict=True):
        model = load_model(str(store), method=label, amount=3)
        assert torch.equal(row.pictures, activation_maps(model, shown, transform))
        with torch.no_grad():
            certain = model(transform.normalise(shown.pixels)).softmax(1)[:, 3]
        assert list(row.titles) == [f"{100 * p:.0f} %" for p in certain.tolist()]


def test_methods_that_changed_one_network_share_its_row_and_others_bring_their_own(
    store, tmp_path, monkeypatch
):
    drawn = []
    monkeypatch.setattr(activation_pictures, "picture", lambda rows, *_: drawn.append(rows[1:]) or b"drawn")
    whole, part = "amnesiac:affected=0.2", "amnesiac:affected=0.2:fraction=0.5"
    for methods in ((whole, part, whole), ("ga", whole)):
        chosen = [word for method in methods for word in ("--method", method)]
        assert command(store, tmp_path / "x.png", *chosen, "--class", "3", "--images", "2") == 0
    shared, apart = drawn
    assert [row.name for row in shared] == [
        "Before", "Amnesiac (affected 0.2)", "Amnesiac (affected 0.2, fraction 0.5)", "Retrain",
    ]  # fmt: skip
    assert [row.name for row in apart] == [
        "Before GA", "GA", "Before Amnesiac (affected 0.2)", "Amnesiac (affected 0.2)", "Retrain",
    ]  # fmt: skip
    assert torch.equal(apart[2].pictures, shared[0].pictures)
    assert not torch.equal(apart[0].pictures, apart[2].pictures)
    assert torch.equal(apart[3].pictures, shared[1].pictures)
    assert torch.equal(apart[4].pictures, shared[3].pictures)


@pytest.mark.parametrize(("form", "begins"), [("png", b"\x89PNG"), ("pdf", b"%PDF"), ("svg", b"<?xml")])
def test_the_name_says_the_format(form, begins, store, tmp_path):
    assert (
        command(store, tmp_path / f"new/maps.{form}", "--method", "ga", "--class", "5", "--images", "1") == 0
    )
    (file,) = (tmp_path / "new").iterdir()
    assert file.read_bytes().startswith(begins)


def test_a_map_is_drawn_in_the_colours_of_its_numbers():
    ramp = torch.linspace(0, 1, 16).repeat(16, 1)[None]
    rows = [
        PictureRow("Images", torch.zeros(1, 16, 16, 3, dtype=torch.uint8), ["a"]),
        PictureRow("Maps", ramp, ["b"]),
    ]
    pixels = np.asarray(Image.open(io.BytesIO(picture(rows, "heading", "png"))).convert("RGB"))
    found = {tuple(colour) for colour in pixels.reshape(-1, 3).tolist()}
    scale = colormaps["viridis"](torch.linspace(0, 1, 16).numpy(), bytes=True)[:, :3]
    assert {tuple(colour) for colour in scale.tolist()} <= found


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--method", "gaa"], "did you mean 'ga'"),
        (["--method", "ga"], "2 models of ga: say which amount (3.0, 5.0)"),
        (["--method", "retrain", "--class", "3"], "--method retrain forgets nothing"),
        (["--method", "original", "--class", "3"], "--method original forgets nothing"),
        (["--method", "ga", "--class", "4"], "unknown amount '4.0'"),
        (["--method", "ga", "--method", "retrain", "--class", "3"], "--method retrain forgets nothing"),
        (["--method", "ga", "--class", "3", "--images", "0"], "--images"),
        ([], "--method"),
    ],
)
def test_bad_input_is_one_line(arguments, expected, store, tmp_path, capsys):
    assert command(store, tmp_path / "x.png", *arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert expected in line
    assert not list(tmp_path.iterdir())


def test_a_format_nobody_writes_and_a_place_nobody_can_write_to(store, tmp_path, capsys):
    chosen = ["--method", "ga", "--class", "3", "--images", "1"]
    assert command(store, tmp_path / "x.gif", *chosen) == 2
    assert "x.gif: name it x.png or x.pdf or x.svg" in capsys.readouterr().err
    (tmp_path / "file").write_text("")
    assert command(store, tmp_path / "file/x.png", *chosen) == 2
    assert "cannot be written (" in capsys.readouterr().err


def test_weights_that_are_gone_are_one_line(store, tmp_path, capsys):
    copied = Store(str(shutil.copytree(store, tmp_path / "s")))
    (model,) = load_results(copied.uri).filter(kind="select", method="ga", amount=3)["model"]
    copied.drop_file(model, WEIGHTS)
    assert command(copied.uri, tmp_path / "x.png", "--method", "ga", "--class", "3") == 2
    assert "keep=all" in capsys.readouterr().err
