"""One contract for both executors: same outcomes for work that succeeds and work that fails."""

import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest

from core.errors import BadInput
from orchestrator.plan import make_plan
from tasks import ray_executor, warm
from tasks.executors import InlineExecutor
from tasks.job import Job, Place
from tasks.node import TRAINING, make_node
from tasks.ray_executor import RayExecutor
from tasks.store import Store
from tests.chaos.stub import CrampedWorker


@pytest.fixture(params=["inline", pytest.param("ray", marks=pytest.mark.ray)])
def executor(request):
    if request.param == "ray":
        request.getfixturevalue("ray_cluster")
        made = RayExecutor("cpu", 1.0, None)
    else:
        made = InlineExecutor("cpu")
    yield made
    made.close()


@pytest.fixture
def place(tmp_path):
    return Place(str(tmp_path / "store"), device="cpu", cache=str(tmp_path / "cache"))


def run(executor, place, nodes):
    outcomes = {}
    for node in nodes:
        slot = 0 if node.kind in TRAINING else None
        while not (slot in executor.free_slots() if slot is not None else executor.free_tasks()):
            executor.wait(timeout=60)
        executor.submit(Job(node, place), slot)
        while node.key not in outcomes:
            outcomes |= {o.node.key: o for o in executor.wait(timeout=60)}
    return [outcomes[node.key] for node in nodes]


def chain(tiny):
    """Data, original, and one trial with its evaluation."""
    nodes = make_plan(tiny).nodes.values()
    trial = next(n for n in nodes if n.kind == "trial" and n.inputs["method"] == "ft")
    evaluation = next(n for n in nodes if n.parents == (trial.key,))
    return [n for n in nodes if n.kind in ("data", "original")] + [trial, evaluation]


def test_nodes_are_computed_and_committed(executor, place, tiny):
    outcomes = run(executor, place, chain(tiny))
    assert [o.failure for o in outcomes] == [None] * 4
    assert Store(place.store).finished() == {o.node.key for o in outcomes}
    evaluation = outcomes[-1].record
    assert 0 <= evaluation.fa <= 100
    assert (
        evaluation.forget_count + evaluation.retain_count == 110
    )  # 120 less a tenth of each class, rounded down


def test_a_failure_is_a_value_with_a_row_and_a_log(executor, place):
    node = make_node("data", (), {"dataset": "cifar10", "limit": None})
    (outcome,) = run(executor, place, [node])
    assert outcome.failure == "bad input"
    assert "cifar10" in outcome.record.error_message
    store = Store(place.store)
    assert store.finished() == set()
    assert store.failures()[node.key].error_kind == "bad input"
    assert b"Traceback" in store.get(f"logs/{node.key}.log")


def test_a_corrupt_parent_is_named(executor, place, tiny):
    data, original, trial, _ = chain(tiny)
    run(executor, place, [data, original])
    Store(place.store).put(f"artifacts/{original.key}/model.safetensors", b"broken")
    warm.clear()
    (outcome,) = run(executor, place, [trial])
    assert (outcome.failure, outcome.corrupt_parent) == ("corrupt", original.key)


def test_diverging_training_is_a_numeric_failure(executor, place, tiny):
    data, original, trial, _ = chain(tiny)
    run(executor, place, [data, original])
    inputs = trial.inputs | {"params": trial.inputs["params"] | {"lr": 1e30, "step_trust": None}}
    (outcome,) = run(executor, place, [make_node("trial", trial.parents, inputs)])
    assert outcome.failure == "numeric"
    assert "loss is" in outcome.record.error_message


def test_other_images_than_the_store_was_made_from_are_refused(executor, place, tiny):
    data, original, *_ = chain(tiny)
    run(executor, place, [data])
    store = Store(place.store)
    manifest = store.get(f"manifests/{data.key}.json").decode()
    digest = store.manifest(data.key).facts["digest"]
    store.put(f"manifests/{data.key}.json", manifest.replace(digest, "0" * 64).encode())
    (outcome,) = run(executor, place, [original])
    assert outcome.failure == "bad input"
    assert "are not those this store was made from" in outcome.record.error_message


def test_data_and_original_stay_warm_from_node_to_node(place, tiny):
    data, original, trial, _ = chain(tiny)
    run(InlineExecutor("cpu"), place, [data, original])
    first = warm.device_data(place, trial.inputs)
    assert warm.device_data(place, trial.inputs) is first
    model = warm.original_model(place, original.key, trial.inputs, first.classes)
    assert warm.original_model(place, original.key, trial.inputs, first.classes) is model


@pytest.mark.ray
def test_one_slot_runs_node_after_node(ray_cluster, place, tiny):
    executor = RayExecutor("cpu", 1.0, 1)
    assert executor.free_slots() == []  # its worker is on its way
    assert executor.starting()
    data, original, trial, _ = chain(tiny)
    outcomes = run(executor, place, [data, original, trial])
    assert all(o.failure is None for o in outcomes)
    assert executor.free_slots() == [0]
    assert not executor.starting()
    executor.close()


@pytest.mark.ray
@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="finds the worker through /proc")
def test_a_killed_worker_is_replaced_and_its_node_still_finishes(ray_cluster, place, tiny):
    executor = RayExecutor("cpu", 1.0, 1)
    data, original, *_ = chain(tiny)
    run(executor, place, [data])
    longer = make_node(
        "original", original.parents, original.inputs | {"params": original.inputs["params"] | {"epochs": 40}}
    )
    executor.submit(Job(longer, place), 0)
    deadline = time.monotonic() + 60
    while not (workers := _workers_at_work()) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert workers
    for pid in workers:
        os.kill(pid, signal.SIGKILL)
    outcomes = []
    while not outcomes and time.monotonic() < deadline + 60:
        outcomes = executor.wait(timeout=5)
    assert [o.failure for o in outcomes] == [None]
    assert longer.key in Store(place.store).finished()
    executor.close()


@pytest.mark.ray
def test_a_node_that_does_not_fit_runs_alone_and_its_neighbours_come_back(
    ray_cluster, place, tiny, monkeypatch
):
    monkeypatch.setattr(ray_executor, "_Worker", CrampedWorker)
    executor = RayExecutor("cpu", 1.0, None)
    data, original, trial, _ = chain(tiny)
    run(executor, place, [data, original])
    while len(executor.free_slots()) < 2:
        executor.wait(timeout=60)
    job = Job(trial, replace(place, gpu_share=0.5))
    (outcome,) = run(executor, job.place, [trial])
    assert (outcome.failure, outcome.record.error_message) == ("memory", "no room")
    assert executor.alone(job)
    assert executor.free_slots() == []  # the neighbour is gone, and its place is kept
    outcomes = []
    while not outcomes:
        outcomes = executor.wait(timeout=60)
    assert [o.failure for o in outcomes] == [None]
    while len(executor.free_slots()) < 2:
        executor.wait(timeout=60)
    executor.need(1)  # one more node: one slot is enough
    assert len(executor.free_slots()) == 1
    assert not executor.alone(job)  # nothing beside it that could go
    executor.need(2)
    assert executor.starting()
    executor.close()


class Unstartable(ray_executor._Worker):
    """Workers cannot import this module."""


@pytest.mark.ray
def test_workers_that_cannot_start_are_one_line(ray_cluster, monkeypatch):
    monkeypatch.setattr(ray_executor, "_Worker", Unstartable)
    monkeypatch.setattr(ray_executor, "_FAILED_STARTS", 2)
    executor = RayExecutor("cpu", 1.0, 1)
    deadline = time.monotonic() + 60
    with pytest.raises(BadInput, match=r"no worker can start: .*No module named 'test_executors'"):
        _wait_until(executor, deadline)
    executor.close()


def _wait_until(executor, deadline):
    while time.monotonic() < deadline:
        executor.wait(timeout=5)


def _workers_at_work():
    """Process ids of this session's Ray workers that run a node; Ray writes the method into the command line."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command, environment = (folder / "cmdline").read_bytes(), (folder / "environ").read_bytes()
        except OSError:
            continue
        if command.startswith(b"ray::_Worker.run") and os.environ["HOME"].encode() in environment:
            found.append(int(folder.name))
    return found
