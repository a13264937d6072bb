"""Ray gives what one process gives, with one worker or two, and survives the death of its driver."""

import json
import signal
import time

import pytest

from orchestrator import grid
from orchestrator.plan.grid_plan import make_plan
from tasks.nodes import warm
from tasks.store.store import Store
from tests.orchestrator.grid_command import rows, start, write_spec

pytestmark = pytest.mark.ray


@pytest.fixture(scope="module")
def inline_rows(tmp_path_factory, tiny_module):
    folder = tmp_path_factory.mktemp("inline")
    arguments = ["--spec", str(write_spec(folder, tiny_module)), "--store", str(folder / "s")]
    warm.clear()
    assert grid.main(["run", *arguments, "--executor", "inline"]) == 0
    return rows(folder / "s")


@pytest.mark.parametrize("workers", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_ray_gives_the_rows_of_one_process(ray_cluster, inline_rows, tiny_module, tmp_path, workers):
    arguments = ["--spec", str(write_spec(tmp_path, tiny_module)), "--store", str(tmp_path / "s")]
    assert grid.main(["run", *arguments, "--set", f"resources.slots={workers}"]) == 0
    assert rows(tmp_path / "s") == inline_rows


def wait_for_orphans(store, still=5.0):
    """Workers outlive their driver for moments and may finish a node: that is work done, not lost."""
    count, since = len(store.finished()), time.monotonic()
    while time.monotonic() - since < still:
        time.sleep(0.1)
        if len(store.finished()) != count:
            count, since = len(store.finished()), time.monotonic()


@pytest.mark.parametrize("executor", ["inline", pytest.param("ray", marks=pytest.mark.slow)])
def test_a_killed_driver_is_resumed_without_computing_anything_twice(
    executor, inline_rows, tiny_module, tmp_path
):
    spec, folder = write_spec(tmp_path, tiny_module), tmp_path / "s"
    total = len(make_plan(tiny_module).nodes)
    store = Store(str(folder))
    first = start(spec, folder, "--executor", executor)
    deadline = time.monotonic() + 120
    while len(store.finished()) < total // 2 and first.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    first.send_signal(signal.SIGKILL)
    first.communicate()
    wait_for_orphans(store)
    before = {key: (folder / "manifests" / f"{key}.json").stat().st_mtime_ns for key in store.finished()}
    assert 0 < len(before) < total
    second = start(spec, folder, "--executor", executor)
    output, errors = second.communicate(timeout=200)
    assert second.returncode == 0, errors
    assert json.loads(output)["computed"] == total - len(before)
    for key, written in before.items():
        manifest = store.manifest(key)
        if not manifest.removed:  # a manifest is rewritten only to note that a loser's weights were removed
            assert (folder / "manifests" / f"{key}.json").stat().st_mtime_ns == written
    assert rows(folder) == inline_rows


def test_a_gpu_request_that_no_node_can_meet_is_found_before_work(ray_cluster, tiny_module, tmp_path, capsys):
    arguments = ["--spec", str(write_spec(tmp_path, tiny_module)), "--store", str(tmp_path / "s")]
    assert grid.main(["run", *arguments, "--set", "resources.device=cuda"]) == 2
    assert "no node has that many GPUs" in capsys.readouterr().err
    assert Store(str(tmp_path / "s")).finished() == set()


@pytest.mark.slow
def test_a_terminated_driver_drains_and_writes_its_report(tiny_module, tmp_path):
    spec, folder = write_spec(tmp_path, tiny_module), tmp_path / "s"
    process = start(spec, folder, "--executor", "inline")
    store = Store(str(folder))
    deadline = time.monotonic() + 120
    while len(store.finished()) < 3 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    output, errors = process.communicate(timeout=100)
    assert process.returncode == 0, errors
    assert json.loads(output)["left"] > 0
    assert (folder / "report" / "index.html").exists()
