"""A whole grid on an object store: runs, is cut off, goes on, repairs what broke, reports."""

import json

import pytest

from core.checkpoint import WEIGHTS
from orchestrator import grid, load_results
from orchestrator.plan.grid_plan import make_plan
from tasks.nodes import warm
from tasks.store.store import Store
from tests.orchestrator.grid_command import rows, write_spec


@pytest.fixture
def tiny(tiny_module):
    return tiny_module.model_copy(update={"methods": ("retrain", "ft")})


@pytest.fixture
def command(tiny, tmp_path, s3_bucket):
    def call(verb, *arguments):
        warm.clear()
        base = ["--spec", str(write_spec(tmp_path, tiny)), "--store", f"{s3_bucket}/grids/tiny"]
        return grid.main([verb, *base, *(["--executor", "inline"] if verb == "run" else []), *arguments])

    return call


@pytest.fixture
def store(s3_bucket):
    return Store(f"{s3_bucket}/grids/tiny")


def test_a_grid_on_s3_is_resumed_repaired_and_reported(command, store, tiny, tmp_path, capsys):
    plan = make_plan(tiny)
    assert command("run", "--json", "--budget", "1s") == 0  # cut off early: nothing long is started
    first = json.loads(capsys.readouterr().out)
    assert first["computed"] < len(plan.nodes)
    assert command("run", "--json") == 0
    second = json.loads(capsys.readouterr().out)
    assert first["computed"] + second["computed"] == len(plan.nodes)
    assert store.finished() == plan.nodes.keys()

    original = next(k for k, n in plan.nodes.items() if n.kind == "original")
    before = rows(store.address)
    store.put(f"artifacts/{original}/{WEIGHTS}", b"half")
    assert command("run", "--json") == 0
    assert json.loads(capsys.readouterr().out)["computed"] == 1
    assert store.get(f"quarantine/artifacts/{original}/{WEIGHTS}") == b"half"
    assert rows(store.address) == before

    assert command("status", "--json") == 0
    assert json.loads(capsys.readouterr().out)["done"] == len(plan.nodes)
    assert command("report") == 0
    assert f"{store.uri}/report/index.html" in capsys.readouterr().out.replace("\n", "")
    assert len(load_results(store.address)) == len(plan.nodes)

    folder = tmp_path / "folder"
    assert command("run", "--store", str(folder)) == 0  # the later --store counts
    assert rows(folder) == before
