"""CONTRIBUTING's recipes, followed: a package of another's with a method, a network, a quantizer and a data set."""

import importlib
import json
import sys

import numpy as np
import pytest

from core import registry
from core.data import DATASETS, dataset_info
from core.errors import BadInput
from core.models import MODELS, model_info
from core.quant import QUANTIZERS, QuantSpec
from core.registry import source_digest
from core.sources import check_sources
from core.unlearn import METHODS
from orchestrator import grid
from orchestrator.cli import help as manual, verbs
from orchestrator.plan.grid_plan import make_plan
from orchestrator.results.reading import read_rows
from orchestrator.spec import titles
from orchestrator.spec.colours import styles
from orchestrator.spec.overrides import with_overrides
from tasks.store.store import Store
from tests.one_problem import digits

METHOD = """
from core.unlearn import METHODS, Method, Range, RetrainParams
from mypackage.helper import halved

def gentle(problem, params, generator, on_epoch=None):
    return METHODS["ft"].run(problem, params.model_copy(update={"lr": halved(params.lr)}), generator, on_epoch)

METHOD = Method("gentle", "Gentle FT", METHODS["ft"].params, lambda _arch: {"lr": Range(1e-3, 1e-1)}, gentle)
"""
HELPER = "def halved(rate):\n    return rate / 2\n"
NETWORK = """
from torch import nn
from core.models import ModelInfo

class Small(nn.Module):
    def __init__(self, classes, width):
        super().__init__()
        self.first = nn.Conv2d(3, round(8 * width), 3, stride=4)
        self.last = nn.Linear(round(8 * width), classes)

    def forward(self, x_BCHW):
        return self.last(self.first(x_BCHW).relu().mean((2, 3)))

NETWORK = ModelInfo(lambda classes, width, _quant: Small(classes, width), title="Small net")
"""
QUANTIZER = """
from core.quant import QUANTIZERS, QuantizerPair

QUANTIZER = QuantizerPair("My LSQ", QUANTIZERS["lsq"].weight, QUANTIZERS["lsq"].activation, bits=range(4, 9))
"""
DATASET = """
import dataclasses
from core.data import DATASETS

DATASET = dataclasses.replace(DATASETS["digits"], title="My digits", mean=None, std=None)
"""
FILES = {"method": METHOD, "helper": HELPER, "network": NETWORK, "quantizer": QUANTIZER, "dataset": DATASET}
NAMED = (
    "methods=retrain,mypackage.method:METHOD",
    "archs=mypackage.network:NETWORK",
    "datasets=mypackage.dataset:DATASET",
    "quantizers=4w4a-mypackage.quantizer:QUANTIZER",
)
POINTED = ("methods=retrain,gentle", "archs=small", "datasets=mydigits", "quantizers=4w4a-mine")
POINTS = {
    "methods": "gentle = mypackage.method:METHOD",
    "networks": "small = mypackage.network:NETWORK",
    "datasets": "mydigits = mypackage.dataset:DATASET",
    "quantizers": "mine = mypackage.quantizer:QUANTIZER",
}


@pytest.fixture
def package(tmp_path, monkeypatch):
    """The package, importable, and installed as far as its entry points go."""
    folder, info = tmp_path / "site" / "mypackage", tmp_path / "site" / "mypackage-1.0.dist-info"
    folder.mkdir(parents=True)
    info.mkdir()
    (folder / "__init__.py").touch()
    for name, text in FILES.items():
        (folder / f"{name}.py").write_text(text)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mypackage\nVersion: 1.0\n")
    lines = [f"[unlearn_grid.{group}]\n{line}\n" for group, line in POINTS.items()]
    (info / "entry_points.txt").write_text("\n".join(lines))
    monkeypatch.syspath_prepend(str(folder.parent))
    forget()
    yield folder
    forget()


def forget():
    """What this process knows of outside entries."""
    for module in [name for name in sys.modules if name.split(".")[0] == "mypackage"]:
        del sys.modules[module]
    for each in (METHODS, MODELS, DATASETS, QUANTIZERS):
        each._outside.clear()
    registry._points.cache_clear()
    source_digest.cache_clear()
    importlib.invalidate_caches()


def spec(*overrides):
    small = {
        "original": {"epochs": 1, "batch_size": 64},
        "retrain": {"epochs": 1},
        "params": {"all": {"batch_size": 64, "epochs": 1}},
        "widths": {},
        "data": {"limit": {"train": 100, "test": 50}},
        "search": {"trials": 2},
        "tracking": {"enabled": False},
    }
    return with_overrides(digits().model_dump(mode="json") | small, list(overrides))


@pytest.mark.parametrize("overrides", [NAMED, POINTED], ids=["module:object", "entry points"])
def test_a_grid_of_nothing_but_outside_entries_runs_to_its_report(package, tmp_path, overrides, capsys):
    found = spec(*overrides)
    file = tmp_path / "grid.yaml"
    file.write_text(json.dumps(found.model_dump(mode="json")))
    store = str(tmp_path / "store")
    assert grid.main(["run", "--spec", str(file), "--store", store, "--executor", "inline"]) == 0
    rows, _ = read_rows(Store(store))
    assert {row["status"] for row in rows} == {"done"}
    assert {row["key"] for row in rows} == make_plan(found).nodes.keys()
    said = capsys.readouterr().out
    assert "Gentle FT" in said
    assert [titles.title(name) for name in (*found.datasets, *found.archs, found.methods[1])] == [
        "My digits", "Small net", "Gentle FT",
    ]  # fmt: skip
    assert "My LSQ" in titles.quantization(found.quant_specs(found.archs[0])[0].label)
    assert styles(found.methods)[found.methods[1]].colour.startswith("#")


def test_settings_and_ranges_of_an_outside_method_are_given_by_its_name(package):
    name = "mypackage.method:METHOD"
    found = spec(
        f"methods={name}:momentum=0.5", f"search.ranges.{name}.lr=[0.1,0.2]", f"params.{name}.epochs=2"
    )
    (label,) = found.methods
    assert label == "mypackage.method.METHOD:momentum=0.5"
    assert found.space(label, "resnet18")["lr"].high == 0.2
    assert found.method_params(label, "digits", {})["epochs"] == 2


@pytest.mark.parametrize("file", FILES)
def test_keys_follow_the_source_of_an_outside_entry_and_what_it_imports_of_its_package(package, file):
    before = make_plan(spec(*NAMED)).nodes
    (package / "unrelated.py").write_text("x = 1\n")
    forget()
    assert make_plan(spec(*NAMED)).nodes.keys() == before.keys()
    path = package / f"{file}.py"
    path.write_text(path.read_text() + "# another version\n")
    forget()
    after = make_plan(spec(*NAMED)).nodes
    changed = {node.kind for key, node in after.items() if key not in before}
    assert changed == {
        "method": {"trial", "evaluate", "select"},
        "helper": {"trial", "evaluate", "select"},
    }.get(
        file,
        {"original", "retrain", "trial", "evaluate", "select"} | ({"data"} if file == "dataset" else set()),
    )


def test_a_worker_with_another_version_or_none_says_so_in_a_line(package, monkeypatch):
    trial = next(node for node in make_plan(spec(*NAMED)).nodes.values() if node.kind == "trial")
    check_sources(trial.inputs)
    (package / "helper.py").write_text(HELPER.replace("2", "3"))
    forget()
    with pytest.raises(BadInput, match=r"'mypackage\.method\.METHOD' here is not what was planned with"):
        check_sources(trial.inputs)
    monkeypatch.undo()
    forget()
    with pytest.raises(
        BadInput, match=r"there is no module mypackage for this interpreter.*on Ray for every worker"
    ):
        check_sources(trial.inputs)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        (
            "methods=mypackage.method:METHODD",
            "unknown method in mypackage.method 'METHODD': did you mean 'METHOD'?",
        ),
        ("methods=mypackage.methods:METHOD", "there is no module mypackage.methods for this interpreter"),
        ("methods=mypackage.network:NETWORK", "NETWORK of mypackage.network is a ModelInfo, not a Method"),
        (
            "archs=mypackage.broken:NETWORK",
            "importing mypackage.broken failed (ZeroDivisionError: division by zero)",
        ),
        ("methods=gentl", "unknown method 'gentl': did you mean 'gentle'?"),
        ("archs=smal", "unknown architecture 'smal': did you mean 'small'?"),
        ("datasets=mydigit", "unknown dataset 'mydigit': did you mean 'mydigits'?"),
        ("quantizers=4w4a-min", "unknown quantizer or flag 'min': did you mean 'mine'?"),
        ("quantizers=2w2a-mine", "mine takes 4-8 (nearest: 4)"),
    ],
)
def test_what_is_not_there_is_one_line(package, override, said):
    (package / "broken.py").write_text("1 / 0\n")
    with pytest.raises(BadInput) as caught:
        spec(override)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_archive_is_a_data_set_by_its_name(tmp_path):
    draw = np.random.default_rng(0)
    labels = np.arange(60) % 3
    images = (labels[:, None, None] * 80 + draw.integers(0, 20, (60, 12, 12))).astype(np.uint8)
    np.savez(tmp_path / "cells.npz", train_images=images, train_labels=labels[:, None], test_images=images[:30],
             test_labels=labels[:30])  # fmt: skip
    found = spec("datasets=npz:cells:16", f"data.root={tmp_path}", "data.limit=null", "archs=mlp", "methods=ft",
                 "search.trials=1")  # fmt: skip
    file = tmp_path / "grid.yaml"
    file.write_text(json.dumps(found.model_dump(mode="json")))
    store = str(tmp_path / "store")
    assert grid.main(["run", "--spec", str(file), "--store", store, "--executor", "inline"]) == 0
    rows, _ = read_rows(Store(store))
    assert {row["status"] for row in rows} == {"done"}
    assert dataset_info("npz:cells:16").title == "cells, 16 px"
    assert model_info("mlp").title == "MLP"
    assert QuantSpec.parse("4w4a").quantizer in QUANTIZERS


def test_a_verb_is_a_function_with_a_line_and_what_it_says_of_itself(monkeypatch, capsys, tmp_path):
    def shout(spec, store, options, console):
        console.print(f"{spec.recipe.upper()}!")
        return 0

    monkeypatch.setitem(verbs.VERBS, "shout", shout)
    monkeypatch.setitem(manual.VERBS, "shout", ("says it louder", (("shout --recipe digits", ""),)))
    assert grid.main(["shout", "--recipe", "digits", "--store", str(tmp_path / "store")]) == 0
    assert "DIGITS!" in capsys.readouterr().out
    assert grid.main(["shout", "--help"]) == 0
    assert "says it louder" in capsys.readouterr().out
