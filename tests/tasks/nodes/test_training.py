"""Which images a node trains on."""

import pytest
import torch

from core.data.splits import pool_indices
from orchestrator.plan.grid_plan import make_plan
from tasks.job import Job, Place
from tasks.nodes import training, warm
from tasks.nodes.dispatch import run_node
from tasks.store.store import Store


class Trained(Exception):
    """Carries the images that a training was about to see."""


@pytest.fixture
def trained_on(tiny, tmp_path, monkeypatch):
    """The labels that the original of a changed tiny grid is trained on, and those of all images."""

    def stop(model, images, *_, **__):
        raise Trained(images)

    def call(**changes):
        spec = type(tiny).model_validate(tiny.model_dump(mode="json") | changes)
        plan, place = (
            make_plan(spec),
            Place(str(tmp_path / "store"), cache=str(tmp_path / "cache"), device="cpu"),
        )
        nodes = {node.kind: node for node in plan.nodes.values()}
        run_node(Job(nodes["data"], place))
        with pytest.raises(Trained) as caught:
            training.train_original(nodes["original"], place, Store(place.store))
        return caught.value.args[0].pixels, warm.device_data(place, nodes["original"].inputs).train

    monkeypatch.setattr(training, "train_from_scratch", stop)
    return call


@pytest.mark.parametrize(
    ("changes", "pool_seed"),
    [
        ({}, 1),
        ({"split": "mismatched", "select_on": "test"}, 2),
        ({"split": "mismatched", "select_on": "test", "seeds": [4]}, 5),
        ({"protocol": "released"}, 2),
        ({"protocol": "released", "split": "one"}, 1),
    ],
    ids=str,
)
def test_the_original_is_trained_on_the_pool_of_its_split(trained_on, changes, pool_seed):
    pixels, everything = trained_on(**changes)
    pool = everything.select(pool_indices(everything.labels, 0.1, pool_seed))
    assert torch.equal(pixels, pool.pixels)
