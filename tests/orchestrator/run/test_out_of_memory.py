"""Nodes that run out of memory: once more with the GPU to themselves, or a failed row that says so."""

import json

import pytest

from orchestrator import grid
from orchestrator.cli import launch
from tasks.executors.executor import InlineExecutor
from tasks.executors.resources import Capacity
from tasks.nodes import dispatch
from tasks.store.store import Store
from tests.chaos import grids
from tests.chaos.stub import LOG, OOM, STUBS


@pytest.fixture
def command(tmp_path, monkeypatch):
    """Runs a stub grid in this process, on half a make-believe GPU."""

    def executor(*_arguments):
        made = InlineExecutor("cpu")
        made.capacity = Capacity(1, 0.5, 1)
        return made

    monkeypatch.setattr(launch, "make_executor", executor)
    monkeypatch.setenv(LOG, str(tmp_path / "log"))
    monkeypatch.setenv("STUB_SECONDS", "0")
    for kind, stub in STUBS.items():
        monkeypatch.setitem(dispatch._FUNCTIONS, kind, stub)
    spec = grids.write(grids.small(), tmp_path)
    base = ["run", "--spec", str(spec), "--store", str(tmp_path / "store"), "--executor", "inline"]
    return lambda *more: grid.main([*base, *more, "--set", "resources.gpus_per_slot=0.5"])


def test_a_node_that_does_not_fit_beside_others_gets_the_gpu_to_itself(
    command, tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv(OOM, "beside")
    assert command() == 0
    assert capsys.readouterr().out.count("out of memory, run again with nothing beside it") == 8
    store = Store(str(tmp_path / "store"))
    assert store.failures() == {}
    alone = [line for line in (tmp_path / "log").read_text().splitlines() if line.startswith("whole")]
    assert len(alone) == 8


def test_a_node_that_does_not_fit_at_all_fails_with_a_reason(command, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv(OOM, "always")
    assert command("--json") == 3
    assert len(json.loads(capsys.readouterr().out)["failed"]) == 8
    failures = Store(str(tmp_path / "store")).failures()
    assert {r.error_kind for r in failures.values()} == {"memory"}
    said = "CUDA out of memory. Tried to allocate 2.00 GiB (it had the GPU to itself)"
    assert {r.error_message for r in failures.values()} == {said}
    log = Store(str(tmp_path / "store")).get(f"logs/{next(iter(failures))}.log").decode()
    assert log.startswith("Traceback")
    starts = (tmp_path / "log").read_text().splitlines()
    assert sum(line.split()[1] in failures for line in starts) == 16  # once beside, once alone
    monkeypatch.delenv(OOM)  # a larger GPU
    assert command() == 0
