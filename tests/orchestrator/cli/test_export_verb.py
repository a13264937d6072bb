"""`export` writes the network of one cell, whole or not at all, and says in one line what is wrong."""

import json
import sys
from pathlib import Path

import onnx
import pytest
import torch

from core.onnx import ExportedNetwork, libraries
from orchestrator import grid, load_model


def export(store, *arguments):
    return grid.main(["export", "--store", str(store), *map(str, arguments)])


def test_the_file_is_the_network_of_the_cell_and_says_where_it_comes_from(finished_store, tmp_path, capsys):
    out = tmp_path / "new" / "q.onnx"
    assert export(finished_store, "--method", "Q-MUL", "--out", out, "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["differing_codes"], facts["decided_alike"], facts["images"]) == (0, 1.0, 60)
    assert facts["codes"] > 10_000
    images = torch.randn((8, 3, 16, 16), generator=torch.Generator().manual_seed(0))
    model = load_model(str(finished_store), method="qmul")
    with torch.no_grad():
        assert torch.equal(ExportedNetwork(out.read_bytes())(images).argmax(1), model(images).argmax(1))
    said = {each.key: each.value for each in onnx.load(out).metadata_props}
    assert (said["method"], said["arch"], said["quant"], said["seed"]) == ("qmul", "resnet18", "4w4a", "1")
    assert "lr" in json.loads(said["params"])
    assert str(finished_store).encode() not in out.read_bytes()


def test_a_snapped_network_is_said_to_be_another_one(finished_store, tmp_path, capsys):
    out = tmp_path / "s.onnx"
    assert export(finished_store, "--method", "best", "--out", out, "--snap-offsets", "--fold-batchnorm") == 0
    assert "another network, whose figures the store does not have" in capsys.readouterr().out
    assert {each.key for each in onnx.load(out).metadata_props} > {"offsets", "batchnorm"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "export needs --method, such as qmul"),
        (("--method", "qmul"), "export needs --out FILE, such as --out qmul.onnx"),
        (("--method", "qmull", "--out", "x.onnx"), "unknown method 'qmull': did you mean 'qmul'?"),
        (("--method", "qmul", "--seed", "7", "--out", "x.onnx"), "unknown seed '7'"),
        (("--method", "qmul", "--out", "."), "--out . is a folder: name a file in it"),
        (("--method", "qmul", "--out", "file/x.onnx"), "--out file/x.onnx cannot be written: "),
    ],
)
def test_what_is_wrong_is_one_line_and_nothing_is_written(
    arguments, said, finished_store, tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("in the way")
    assert export(finished_store, *arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {said}")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_an_option_of_export_is_told_where_it_belongs(finished_store, capsys):
    assert grid.main(["status", "--store", str(finished_store), "--method", "qmul"]) == 2
    assert "--method belongs to export, not to status: export --method qmul" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["onnx", "onnxruntime"])
def test_a_library_that_is_missing_is_one_line_with_what_to_install(
    name, finished_store, tmp_path, capsys, monkeypatch
):
    monkeypatch.setitem(sys.modules, name, None)
    for place in ("graph", "session", "agreement"):
        if name in vars(sys.modules[f"core.onnx.{place}"]):
            monkeypatch.setattr(f"core.onnx.{place}.{name}", libraries._Wanted(name))
    assert export(finished_store, "--method", "qmul", "--out", tmp_path / "q.onnx") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {name} is not installed here")
    assert line.endswith("pip install 'unlearn-grid[export]'")
    assert not (tmp_path / "q.onnx").exists()
