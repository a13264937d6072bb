"""Grids on data that lie in files: idx files, and a folder of images that no registry knows."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from orchestrator import grid
from orchestrator.plan import make_plan
from orchestrator.spec import parse_spec
from orchestrator.spec.specification import GridSpec
from tasks.nodes import warm
from tasks.store.store import Store
from tests.core.data_files import encoded, mnist, noise, write_folder
from tests.orchestrator.grid_command import rows


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


def test_what_a_reader_says_of_the_files_is_shown_and_reported(run, tmp_path):
    write_pets(tmp_path / "root/my pets")
    write_folder(
        tmp_path / "root/my pets", {"train/ant/._0.png": b"macOS", "train/ant/Thumbs.db": b"Windows"}
    )
    said_of_it = "folder:my pets:16: 2 files left out: 1 .db, 1 hidden"
    for _ in range(2):  # also when nothing is left to do
        code, said = run(datasets=["folder:my pets:16"], ratios=[], classes=[1])
        assert code == 0
        assert said_of_it in " ".join(said.split())
    assert said_of_it in Store(str(tmp_path / "store")).get("report/report.md").decode()


def test_a_table_of_ones_own_with_a_share_to_test_on(run, tmp_path):
    cells = [encoded(noise(np.random.default_rng(n), 16)) for n in range(40)]
    path = tmp_path / "root/pets/data/train-00000-of-00001.parquet"
    path.parent.mkdir(parents=True)
    pq.write_table(pa.table({"photo": cells, "animal": ["ant", "bee"] * 20}), path)
    code, said = run(datasets=["table:pets:16"], ratios=[], classes=[1])
    assert code == 2
    assert "table:pets:16 has no test images; take a share of its training images with" in said
    code, said = run(
        datasets=["table:pets:16"],
        ratios=[],
        classes=[1],
        data={"root": str(tmp_path / "root"), "test_share": 0.25},
    )
    assert code == 0
    words = " ".join(said.split())
    assert "in data/, image = photo, label = animal (string), ant to bee numbered 0 to 1" in words
    assert "table:pets:16: 10 of 40 training images are its test split" in words
    found = finished(tmp_path)
    assert (found["data"]["retain_count"], found["data"]["test_count"]) == (30, 10)


def test_a_test_share_is_in_the_keys_and_changes_none_without_it():
    base = {"datasets": ["table:pets"], "archs": ["lenet"], "ratios": [0.1], "methods": ["ft"]}
    plain, shared, other = (
        set(make_plan(parse_spec({**base, "data": {"test_share": share}})).nodes)
        for share in (None, 0.2, 0.3)
    )
    assert not plain & shared
    assert not shared & other
    assert plain == set(make_plan(parse_spec(base)).nodes)


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
