"""Grids on data that lie in files: idx files, and a folder of images that no registry knows."""

import json

import numpy as np
import pytest
from grid_command import rows

from orchestrator import grid
from orchestrator.spec.specification import GridSpec
from tasks.nodes import warm
from tasks.store.store import Store
from tests.core.data_files import encoded, mnist, noise, write_folder


@pytest.fixture
def run(tiny, tmp_path, capsys):
    """Runs a grid of one method with changes on files under `root`; the exit code and what was said."""

    def call(**changes):
        warm.clear()
        values = tiny.model_dump(mode="json") | {
            "methods": ["retrain", "ga"],
            "search": {"trials": 1},
            "widths": {},
        }
        values |= {
            "archs": ["lenet"],
            "data": {"root": str(tmp_path / "root"), "cache": str(tmp_path / "cache")},
        }
        values["params"] = {"ga": {"epochs": 1, "batch_size": 8}}
        file = tmp_path / "grid.yaml"
        file.write_text(json.dumps(GridSpec.model_validate(values | changes).model_dump(mode="json")))
        store = ["--store", str(tmp_path / "store"), "--executor", "inline"]
        code = grid.main(["run", "--spec", str(file), *store])
        return code, "".join(capsys.readouterr())

    return call


def write_pets(folder, train=12, test=6):
    rng = np.random.default_rng(0)
    files = {
        f"{split}/{name}/{number}.png": encoded(noise(rng, 20))
        for split, count in (("train", train), ("test", test))
        for name in ("ant", "bee", "cat")
        for number in range(count)
    }
    write_folder(folder, files)


def finished(tmp_path):
    return {row["kind"]: row for row in rows(tmp_path / "store").values()}


def test_a_folder_of_images_is_a_data_set(run, tmp_path):
    write_pets(tmp_path / "root/pets")
    code, said = run(datasets=["folder:pets:16"], ratios=[], classes=[1])
    assert code == 0
    assert "pets, 16 px · LeNet · 4w4a · class 1" in said
    found = finished(tmp_path)
    assert (found["data"]["retain_count"], found["data"]["test_count"]) == (36, 18)
    assert found["retrain"]["dataset"] == "folder:pets:16"
    assert (
        "all training and all test images" in Store(str(tmp_path / "store")).get("report/report.md").decode()
    )


def test_a_class_that_a_folder_has_not_is_named_when_it_is_read(run, tmp_path):
    write_pets(tmp_path / "root/pets")
    code, said = run(datasets=["folder:pets:16"], ratios=[], classes=[3])
    assert code != 0
    assert "class 3 is not in the dataset (valid: 0-2)" in said
    assert "Traceback" not in said


def test_a_folder_that_is_not_there_is_one_line(run):
    code, said = run(datasets=["folder:pets"])
    assert code != 0
    assert "put pets/train/<class>/ and pets/test/<class>/ there by hand" in said
    assert "Traceback" not in said


def test_mnist_from_its_idx_files(run, tmp_path):
    write_folder(tmp_path / "root/MNIST/raw", mnist(count=60))
    code, said = run(datasets=["mnist"])
    assert code == 0
    assert "MNIST · LeNet · 4w4a · random 10 %" in said
    assert finished(tmp_path)["data"]["retain_count"] == 60
