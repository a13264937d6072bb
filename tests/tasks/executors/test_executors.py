"""One contract for both executors: same outcomes for work that succeeds and work that fails."""

import os
import signal
import time
from dataclasses import replace
from multiprocessing import active_children, get_context
from pathlib import Path

import pytest

from core.errors import BadInput
from core.seal import sealed, unsealed
from orchestrator.plan.grid_plan import make_plan
from tasks.executors import on_ray
from tasks.executors.executor import InlineExecutor
from tasks.executors.on_ray import RayExecutor
from tasks.executors.resources import Capacity, spare_processes
from tasks.job import Job, Place
from tasks.node import TRAINING, make_node
from tasks.nodes import warm
from tasks.store.store import Store
from tests.chaos.stub import CrampedWorker


@pytest.fixture(params=["inline", "helped", pytest.param("ray", marks=pytest.mark.ray)])
def executor(request):
    if request.param == "ray":
        request.getfixturevalue("ray_cluster")
        made = RayExecutor("cpu", 1.0, None)
    else:
        made = InlineExecutor("cpu", helpers=int(request.param == "helped"))
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
    manifest = unsealed(store.get(f"manifests/{data.key}.json"))
    manifest["facts"]["digest"] = "0" * 64
    store.put(f"manifests/{data.key}.json", sealed(manifest))
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


def test_evaluations_and_selections_go_to_helpers_and_nothing_else_does(place, tiny):
    executor = InlineExecutor("cpu", helpers=2)
    assert (executor.free_slots(), executor.free_tasks()) == ([0], 2)
    data, *_, evaluation = chain(tiny)
    executor.submit(Job(evaluation, place), None)
    assert (executor.free_slots(), executor.free_tasks()) == ([0], 1)
    executor.submit(Job(data, place), None)
    assert executor.free_slots() == []
    assert [o.node.kind for o in executor.wait(timeout=0)] == ["data"]  # the other process has yet to start
    (outcome,) = executor.wait(timeout=60)
    assert outcome.corrupt_parent == evaluation.parents[0]  # there is no model yet
    assert executor.free_tasks() == 2
    executor.close()


def test_a_helper_that_dies_is_a_failure_of_its_node_alone(place, tiny):
    executor = InlineExecutor("cpu", helpers=2)
    data, original, trial, evaluation = chain(tiny)
    run(executor, place, [data, original, trial])
    others = {child.pid for child in active_children()}
    executor.submit(Job(evaluation, place), None)
    (victim,) = {child.pid for child in active_children()} - others
    selection = next(n for n in make_plan(tiny).nodes.values() if n.kind == "select")
    executor.submit(Job(selection, place), None)
    os.kill(victim, signal.SIGKILL)
    outcomes = {}
    while len(outcomes) < 2:
        outcomes |= {o.node.kind: o for o in executor.wait(timeout=60)}
    assert outcomes["evaluate"].failure == "system"
    assert "terminated abruptly" in outcomes["evaluate"].record.error_message
    assert (
        outcomes["select"].failure == "corrupt"
    )  # the other one did its work: there is nothing to choose among
    assert Store(place.store).failures()[evaluation.key].error_kind == "system"
    (again,) = run(executor, place, [evaluation])
    assert again.failure is None
    executor.close()


def test_helpers_end_with_their_executor_whatever_they_are_at(place, tiny):
    executor = InlineExecutor("cpu", helpers=1)
    before = set(active_children())
    executor.submit(Job(chain(tiny)[-1], place), None)
    (helper,) = set(active_children()) - before
    executor.close()
    helper.join(60)
    with pytest.raises(ProcessLookupError):  # the pool's own thread may have taken its exit code
        os.kill(helper.pid, 0)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for the process in /proc")
def test_helpers_end_with_a_driver_that_was_killed(place, tiny):
    driver = get_context("spawn").Process(target=_submit_and_wait, args=(place, chain(tiny)[-1]))
    driver.start()
    deadline = time.monotonic() + 60
    while not (helpers := _helpers_of(driver.pid)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert helpers
    os.kill(driver.pid, signal.SIGKILL)
    driver.join()
    while any(map(_runs, helpers)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(_runs, helpers))


def _submit_and_wait(place, node):
    InlineExecutor("cpu", helpers=1).submit(Job(node, place), None)
    time.sleep(600)


def _helpers_of(pid):
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [child for child in found if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()]


def _runs(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize(
    ("cores", "gpus", "expected"), [(1, 1, 0), (2, 1, 0), (3, 1, 1), (16, 1, 4), (16, 0, 0)]
)
def test_helpers_take_cores_to_spare_and_only_beside_a_gpu(monkeypatch, cores, gpus, expected):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cores)), raising=False)
    assert spare_processes(Capacity(1, gpus, 1)) == expected


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


@pytest.mark.slow
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


@pytest.mark.slow
@pytest.mark.ray
def test_a_node_that_does_not_fit_runs_alone_and_its_neighbours_come_back(
    ray_cluster, place, tiny, monkeypatch
):
    monkeypatch.setattr(on_ray, "_Worker", CrampedWorker)
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


class Unstartable(on_ray._Worker):
    """Workers cannot import this module."""


@pytest.mark.ray
def test_workers_that_cannot_start_are_one_line(ray_cluster, monkeypatch):
    monkeypatch.setattr(on_ray, "_Worker", Unstartable)
    monkeypatch.setattr(on_ray, "_FAILED_STARTS", 2)
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
