"""Trials of one cell on one worker: what the first one measured on the original serves the others."""

from dataclasses import replace

import pytest

from core import checkpoint
from orchestrator.plan.grid_plan import make_plan
from tasks.job import Job, Place
from tasks.nodes import warm
from tasks.nodes.dispatch import run_node
from tasks.store.store import Store


@pytest.fixture
def searched(tiny, tmp_path):
    """Runs the trials of SalUn and IU in the order given; returns rows and weights by key, in the plan's order."""
    spec = type(tiny).model_validate(
        tiny.model_dump(mode="json")
        | {"methods": ["retrain", "iu", "salun"], "search": {"trials": 2}, "ratios": [0.1]}
    )
    nodes = list(make_plan(spec).nodes.values())
    trials = [node for node in nodes if node.kind == "trial"]

    def run(folder, *, cold):
        place = Place(str(tmp_path / folder), cache=str(tmp_path / "cache"), device="cpu")
        for node in (n for n in nodes if n.kind in ("data", "original")):
            run_node(Job(node, place))
        found = {}
        for node in trials:
            if cold:
                warm.clear()
            record = run_node(Job(node, place))
            found[node.key] = record, Store(place.store).read(node.key, checkpoint.WEIGHTS)
        return found, place

    warm.clear()
    yield trials, run
    warm.clear()


def test_a_warm_worker_gives_the_same_weights_and_tells_whole_run_times(searched):
    trials, run = searched
    (cold, _), (warm_ones, place) = run("cold", cold=True), run("warm", cold=False)
    assert [weights for _, weights in warm_ones.values()] == [weights for _, weights in cold.values()]
    _, later = (node for node in trials if node.inputs["method"] == "iu")
    (_, solving), *_ = (v for key, v in warm.shared_work(place, later)._memory.items() if key[0] == "iu")
    assert warm_ones[later.key][0].seconds > solving  # which was done in the trial before


def test_another_forget_set_shares_nothing(searched):
    trials, _ = searched
    place, node = Place("store"), trials[0]
    shared = warm.shared_work(place, node)
    shared.once("a", lambda: 1)
    assert warm.shared_work(place, node).once("a", lambda: 2) == 1
    other = replace(node, inputs=node.inputs | {"amount": 0.5})
    assert warm.shared_work(place, other).once("a", lambda: 2) == 2
