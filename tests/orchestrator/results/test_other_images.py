"""Results follow the images of a folder: another content is another grid, wherever it lies."""

import json
import os
import shutil
from unittest import mock

import numpy as np
import pytest
from PIL import Image

from core.data.content import content_digest
from orchestrator import grid
from orchestrator.plan.grid_plan import make_plan
from orchestrator.results.known_grids import stored_grid
from orchestrator.spec.specification import GridSpec
from tasks.nodes import dispatch
from tasks.store.store import Store
from tests.chaos import store_damage
from tests.one_problem import digits

NAME = "folder:photos:8"


@pytest.fixture(autouse=True)
def stubs():
    """Images are read, networks are not trained."""
    # not the fixture monkeypatch: undone after stubs(), it would put the stub back for good
    with store_damage.stubs(), mock.patch.dict(dispatch._FUNCTIONS, {"data": prepare_data}):
        yield


prepare_data = dispatch._FUNCTIONS["data"]


def photos(root, seed=0, count=4):
    draw = np.random.default_rng(seed)
    for split in ("train", "test"):
        for kind in ("cats", "dogs"):
            folder = root / "photos" / split / kind
            folder.mkdir(parents=True)
            for number in range(count):
                Image.fromarray(draw.integers(0, 256, (8, 8, 3), np.uint8)).save(folder / f"{number}.png")
    return root


@pytest.fixture
def root(tmp_path):
    return photos(tmp_path / "data")


@pytest.fixture
def spec_file(tmp_path):
    values = digits().model_dump(mode="json") | {
        "recipe": "photos",
        "datasets": [NAME],
        "methods": ["retrain", "ft"],
    }
    values |= {
        "search": {"trials": 1},
        "data": {"cache": str(tmp_path / "cache")},
        "tracking": {"enabled": False},
    }
    file = tmp_path / "photos.yaml"
    file.write_text(GridSpec.model_validate(values).model_dump_json())
    return file


@pytest.fixture
def asked(tmp_path, capsys):
    def ask(verb, root, *more, store="store"):
        where = ("--store", str(tmp_path / store), "--set", f"data.root={root}", "--json")
        code = grid.main([verb, *where, *more, *(("--executor", "inline") if verb == "run" else ())])
        said = capsys.readouterr()
        assert code == 0, said.err
        return (json.loads(said.out) if said.out else {}), said.err

    return ask


def test_changed_images_are_another_grid_and_the_old_results_are_told(root, spec_file, asked, tmp_path):
    asked("run", root, "--spec", str(spec_file))
    before = Store(str(tmp_path / "store")).finished()
    facts, _ = asked("plan", root)
    assert (facts["left"], facts["other_images"]) == ({}, [])
    changed = tmp_path / "changed"
    shutil.copytree(root, changed)
    (changed / "photos/train/cats/3.png").unlink()
    facts, _ = asked("plan", changed)
    assert facts["done"] == 0
    assert facts["other_images"] == [
        f"{NAME}: {len(before)} results in this store are of other images and do not count for this grid"
    ]
    facts, _ = asked("status", changed)  # the store's own grid, and what lies there now
    assert facts["state"] == "done"
    assert f"than those that lie under {changed} now" in facts["other_images"][0]
    _, lines = asked("run", changed)
    assert f"{len(before)} results in this store are of other images" in lines
    assert Store(str(tmp_path / "store")).finished() >= before
    assert asked("plan", changed)[0]["left"] == {}
    assert asked("plan", root)[0]["left"] == {}  # and back: everything is still there


def test_a_touch_and_another_place_change_nothing(root, spec_file, asked, tmp_path):
    asked("run", root, "--spec", str(spec_file))
    for path in (root / "photos").rglob("*.png"):
        os.utime(path, (1e9, 1e9))
    assert asked("plan", root)[0]["left"] == {}
    shutil.copytree(root, tmp_path / "another machine")
    assert asked("plan", tmp_path / "another machine")[0]["left"] == {}


def test_a_machine_without_the_images_goes_on_with_those_of_the_store(root, spec_file, asked, tmp_path):
    asked("run", root, "--spec", str(spec_file))
    assert asked("plan", tmp_path / "nothing", "--spec", str(spec_file))[0]["left"] == {}
    assert asked("status", tmp_path / "nothing")[0]["state"] == "done"


def test_a_store_from_before_keys_held_contents_goes_on_while_the_images_stay(
    root, spec_file, asked, tmp_path, monkeypatch
):
    with monkeypatch.context() as patch:
        patch.setattr("orchestrator.results.image_digests.content_digest", lambda *_, **__: None)
        asked("run", root, "--spec", str(spec_file))
    store = Store(str(tmp_path / "store"))
    assert stored_grid(store).data.digests == {}
    facts, _ = asked("plan", root)
    assert (facts["left"], facts["other_images"]) == ({}, [])
    other = photos(tmp_path / "other", seed=1)
    facts, _ = asked("plan", other)
    assert facts["done"] == 0
    assert f"{len(store.finished())} results in this store are of other images" in facts["other_images"][0]
    facts, _ = asked("status", other)
    assert facts["state"] == "done"
    assert "are of other images" in facts["other_images"][0]


def test_the_digest_is_that_of_the_images(root, tmp_path):
    cache = tmp_path / "cache"
    assert content_digest(NAME, root, cache, decode=False) is None
    found = content_digest(NAME, root, cache, decode=True)
    assert content_digest(NAME, root, cache, decode=False) == found
    assert content_digest(NAME, tmp_path / "nothing", cache, decode=True) is None
    grids = [
        digits().model_dump(mode="json") | {"datasets": [NAME], "data": {"digests": d}}
        for d in ({}, {NAME: found})
    ]
    first, second = (make_plan(GridSpec.model_validate(values)) for values in grids)
    assert not first.nodes.keys() & second.nodes.keys()
