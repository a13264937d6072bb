"""Models out of a store are those that were measured; what is not clear or not there is one line."""

import shutil

import numpy as np
import pytest
import torch

from core.checkpoint import WEIGHTS
from core.data import Limit, load
from core.data.loader import Transform
from core.errors import BadInput
from core.metrics import predictions
from core.seal import sealed, unsealed
from orchestrator import load_model
from orchestrator.results.reading import load_results
from tasks.store.store import Store


@pytest.fixture
def store(finished_store, tmp_path) -> Store:
    return Store(str(shutil.copytree(finished_store, tmp_path / "s")))


@pytest.mark.parametrize("method", ["original", "retrain", "ft", "qmul"])
def test_a_loaded_model_predicts_what_was_stored(method, finished_store, tiny, tmp_path):
    model = load_model(str(finished_store), method=method, dataset="digits", arch="resnet18", seed=1)
    assert not model.training
    kind = "select" if method in ("ft", "qmul") else "evaluate"
    (key,) = load_results(str(finished_store)).filter(method=method, kind=kind)["model"]
    stored = predictions.unpack(Store(str(finished_store)).read(key, "predictions.npz"))
    data = load("digits", tmp_path, cache=tmp_path, limit=Limit(**tiny.data.limit.model_dump()))
    images = Transform(data.mean, data.std).normalise(data.test_images)
    with torch.no_grad():
        found = model(images).argmax(1).numpy()
    assert np.array_equal(found, stored["test"].predicted)


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({"method": "qmull"}, "did you mean 'qmul'"),
        ({"method": "salun"}, "unknown method 'salun'"),
        ({"method": "ft", "seed": 7}, "unknown seed '7'"),
        ({"method": "ft", "dataset": "digit"}, "did you mean 'digits'"),
    ],
)
def test_coordinates_that_no_cell_has_name_the_nearest(wanted, expected, finished_store):
    with pytest.raises(BadInput, match=expected):
        load_model(str(finished_store), **wanted)


def test_the_best_is_the_method_with_the_smallest_gap_and_names_may_be_printed_ones(finished_store):
    chosen = load_results(str(finished_store)).filter(kind="select").sort("ag")
    weights = [
        load_model(str(finished_store), method=method).state_dict()
        for method in ("best", chosen["method"][0])
    ]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[1])
    one, other = (load_model(str(finished_store), method=method) for method in ("Q-MUL", "qmul"))
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    assert load_model(str(finished_store), method="FT", dataset="Digits", arch="ResNet-18") is not None


def test_no_best_of_several_problems(store):
    spec = unsealed(store.get("spec.json")) | {"seeds": [1, 2]}
    store.put("spec.json", sealed(spec))
    with pytest.raises(BadInput, match=r"models of best: say which seed \(1, 2\)"):
        load_model(store.uri, method="best")


def test_several_cells_ask_for_what_tells_them_apart(store):
    spec = unsealed(store.get("spec.json")) | {"seeds": [1, 2]}
    store.put("spec.json", sealed(spec))
    with pytest.raises(BadInput, match=r"2 models of ft: say which seed \(1, 2\)"):
        load_model(store.uri, method="ft")
    with pytest.raises(BadInput, match="has no model: missing: not run yet"):
        load_model(store.uri, method="ft", seed=2)


def test_a_store_without_a_grid_or_weights_is_one_line(store, tmp_path):
    with pytest.raises(BadInput, match="no grid in"):
        load_model(str(tmp_path / "nowhere"), method="ft")
    (dropped,) = load_results(store.uri).filter(kind="select", method="qmul")["model"]
    store.drop_file(dropped, WEIGHTS)
    with pytest.raises(BadInput, match="keep=all"):
        load_model(store.uri, method="qmul")
    (broken,) = load_results(store.uri).filter(kind="select", method="ft")["model"]
    store.put(f"artifacts/{broken}/{WEIGHTS}", b"cut off")
    with pytest.raises(BadInput, match="computes it anew"):
        load_model(store.uri, method="ft")
    assert broken not in store.finished()  # it is in quarantine/, so that a run does
