"""A disk that is full or read-only for a while, or for good: waited for, then left with nothing half-written."""

import json
import threading
import time
from pathlib import Path

import pytest

from orchestrator import grid
from orchestrator.plan.grid_plan import make_plan
from tasks.nodes import dispatch
from tasks.record import from_parquet
from tasks.store import files
from tasks.store.store import Store
from tests.chaos import grids
from tests.chaos.disk_faults import fill, read_only, small_disk
from tests.chaos.stub import BYTES, STUBS


@pytest.fixture
def disk(tmp_path):
    with small_disk(tmp_path / "disk") as mounted:
        if mounted is None:
            pytest.skip("only root, and not in every container, can mount a small disk")
        yield mounted


@pytest.fixture
def command(tmp_path, monkeypatch):
    """Runs a grid of nodes that train nothing, in this process."""
    for kind, stub in STUBS.items():
        monkeypatch.setitem(dispatch._FUNCTIONS, kind, stub)
    monkeypatch.setenv(BYTES, "3000")
    spec = grids.write(grids.small(), tmp_path)

    def call(store, *arguments):
        base = ["run", "--spec", str(spec), "--store", str(store), "--executor", "inline", "--json"]
        return grid.main([*base, *arguments])

    return call


def during(store, count, fault):
    """Does something to the disk once a number of nodes is finished."""

    def watch():
        deadline = time.monotonic() + 60
        while len(store.finished()) < count and time.monotonic() < deadline:
            time.sleep(0.002)
        fault()

    thread = threading.Thread(target=watch)
    thread.start()
    return thread


def check_whole(store):
    """No write is half done: no leftover, every manifest's files as it says, every part readable."""
    left = [p for p in Path(store.root).rglob("*") if p.name.startswith(".") or p.suffix in (".tmp", ".new")]
    assert left == []
    for key, manifest in store.manifests(store.finished()).items():
        for name in manifest.files.keys() - set(manifest.removed):
            store.read(key, name)
    for name in store.names("parts"):
        (row,) = from_parquet(store.get(f"parts/{name}"))
        assert f"{row['key']}.parquet" == name


@pytest.mark.parametrize("fault", ["full", "read-only"])
def test_a_disk_that_comes_back_costs_nothing_but_time(fault, disk, command, capsys):
    store, total = Store(str(disk / "store")), len(make_plan(grids.small()).nodes)

    def outage():
        ballast = fill(disk) if fault == "full" else read_only(disk, yes=True)
        time.sleep(1.0)
        ballast.unlink() if ballast else read_only(disk, yes=False)

    thread = during(store, 20, outage)
    assert command(store.root) == 0
    thread.join()
    facts = json.loads(capsys.readouterr().out)
    assert (facts["computed"], facts["failed"], facts["left"]) == (total, [], 0)
    check_whole(store)


def test_a_disk_that_stays_full_ends_the_run_in_one_line_and_nothing_is_lost(
    disk, command, capsys, monkeypatch
):
    monkeypatch.setattr(files, "PATIENCE", 0.6)
    store, total = Store(str(disk / "store")), len(make_plan(grids.small()).nodes)
    thread = during(store, 20, lambda: fill(disk))
    assert command(store.root) == 2
    thread.join()
    captured = capsys.readouterr()
    line = captured.err.strip().splitlines()[-1]
    assert "Traceback" not in captured.err
    assert "No space left on device, tried for 0.6 s; the same command goes on from here" in line
    check_whole(store)
    done = len(store.finished())
    assert 20 <= done < total
    assert store.failures() == {}  # the nodes are not to blame
    assert command(store.root) == 2  # still full
    assert "No space left on device" in capsys.readouterr().err
    (disk / "ballast").unlink()
    assert command(store.root) == 0
    assert json.loads(capsys.readouterr().out)["computed"] == total - done


def test_a_store_whose_place_a_file_takes_under_a_running_grid_ends_it_with_one_line(
    command, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(files, "PATIENCE", 0.1)
    root = tmp_path / "store"

    def replace():
        root.rename(tmp_path / "moved")
        root.write_text("somebody else's")

    replacing = during(Store(str(root)), 10, replace)
    assert command(root) == 2
    replacing.join()
    said = capsys.readouterr().err.strip().splitlines()
    assert said[-1].startswith(f"error: store {root}: ")
    assert "Not a directory" in said[-1]
    assert not any("Traceback" in line for line in said)
    assert root.read_text() == "somebody else's"


def test_a_worker_that_cannot_write_where_the_driver_can_has_a_failed_node(
    command, tmp_path, capsys, monkeypatch
):
    """One machine has lost the store: its nodes fail with a reason, and the grid goes on."""
    monkeypatch.setattr(files, "PATIENCE", 0.1)
    really = Store.commit

    def commit(self, node, *rest):
        if node.kind == "trial" and node.inputs["method"] == "ga" and node.inputs["dataset"] == "svhn":
            self._patiently(lambda: (_ for _ in ()).throw(OSError(5, "Input/output error")))
        really(self, node, *rest)

    monkeypatch.setattr(Store, "commit", commit)
    assert command(tmp_path / "store") == 3
    failures = Store(str(tmp_path / "store")).failures()
    assert len(failures) == 4
    assert {r.error_kind for r in failures.values()} == {"system"}
    assert all("Input/output error, tried for 0.1 s" in r.error_message for r in failures.values())
