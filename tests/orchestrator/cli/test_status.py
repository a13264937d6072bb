"""`status`: what the store knows about a grid that has not begun, runs, was stopped, failed or is done."""

import io
import json
from datetime import UTC, datetime, timedelta

import pytest
from rich.console import Console

from orchestrator import grid
from orchestrator.cli import status
from orchestrator.plan.grid_plan import make_plan
from tasks.store.lease import STALE, Lease, this_driver
from tasks.store.store import Store
from tests.orchestrator.fake_results import Fake, small_spec


@pytest.fixture(params=["local", "memory"])
def store(request, tmp_path):
    opened = Store(str(tmp_path / "grid") if request.param == "local" else f"memory://{tmp_path.name}")
    opened.remove("")
    return opened


def filled(store, fail=lambda n: False, skip=lambda n: False, age=0.0):
    """A store whose rows ended one a second until `age` seconds ago."""
    fake = Fake(store, small_spec())
    fake.store.put("spec.json", fake.spec.model_dump_json().encode())
    fake.fill(fail, skip)
    now = datetime.now(UTC) - timedelta(seconds=age)
    for number, record in enumerate(reversed(fake.rows.values())):
        changed = record.model_copy(update={"finished_at": now - timedelta(seconds=number)})
        store.restore_part(record.key, changed)
    return fake


def facts_of(fake):
    found = status.grid_state(fake.spec, make_plan(fake.spec), fake.store)
    console = Console(width=80, file=io.StringIO())
    status.print_state(console, fake.spec, fake.store, found)
    return found.facts, console.file.getvalue()


def of_ft(kind="trial"):
    return lambda node: node.kind == kind and node.inputs.get("method") == "ft"


def test_a_finished_grid_says_so_and_where_to_look(store):
    facts, text = facts_of(filled(store))
    assert (facts["state"], facts["driver"], facts["failed"]) == ("done", None, {})
    assert text.startswith("grid small: done")
    commands = text.rpartition("\n\n")[2].splitlines()
    assert len(commands) == 3
    assert {line[:13].rstrip() == line[:11].rstrip() and line[13] != " " for line in commands} == {True}


def test_the_smallest_gap_so_far_and_the_time_spent_are_told(store):
    fake = filled(store, skip=of_ft("select"))
    facts, text = facts_of(fake)
    chosen = [row for row in fake.rows.values() if row.kind == "select"]
    (best,) = facts["best"]
    least = min(chosen, key=lambda row: row.ag)
    assert (best["method"], best["ag"], best["seeds"]) == (least.method, pytest.approx(least.ag, abs=1e-3), 1)
    assert facts["node_hours"] == pytest.approx(
        sum(r.node_seconds for r in fake.rows.values()) / 3600, abs=1e-3
    )
    assert "lowest AG" in text
    assert "of workers' time" in text


def test_a_grid_that_has_not_begun(store):
    facts, text = facts_of(filled(store, skip=lambda n: True))
    assert (facts["state"], facts["done"]) == ("not begun", 0)
    assert "grid run --store" in text


def test_a_stopped_grid_says_how_to_go_on(store):
    facts, text = facts_of(filled(store, skip=of_ft()))
    assert facts["state"] == "stopped"
    assert facts["pace"] is None
    assert "grid run --store" in text
    assert "index.html" not in text


def test_failures_have_their_reason_their_log_and_a_way_on(store):
    facts, text = facts_of(filled(store, fail=of_ft()))
    assert facts["state"] == "finished with failures"
    assert len(facts["failed"]) == 3
    assert facts["blocked"] == 4  # three evaluations and the selection
    key = next(iter(facts["failed"]))
    assert facts["logs"][key] == f"logs/{key}.log"
    assert "loss is nan" in text
    assert f"logs/{key[:12]}{'*' if store.local else key[12:] + '.log'}" in text
    assert "--retry-failed" in text


def test_a_live_driver_is_seen_with_its_pace_and_what_is_left(store):
    fake = filled(store, skip=of_ft())
    with Lease(store, warn=lambda line: None) as lease:
        earlier = datetime.now(UTC) - timedelta(minutes=2)
        held = this_driver().__class__(**{**lease.mine.__dict__, "since": f"{earlier:%Y-%m-%d %H:%M:%S} UTC"})
        store.put("lease.json", held.packed())
        facts, text = facts_of(fake)
    assert (facts["state"], facts["driver"]["alive"]) == ("running", True)
    trained = [r for r in fake.rows.values() if r.kind in ("original", "retrain", "trial")]
    assert facts["pace"]["trials_per_hour"] == pytest.approx(6 * 30, rel=0.1)  # two methods, in two minutes
    assert facts["pace"]["workers"] == pytest.approx(sum(r.node_seconds for r in trained) / 120, abs=0.02)
    assert facts["eta_seconds"] > 0
    assert "at that pace" in text
    assert "last sign of life" in " ".join(text.split())


def test_rows_of_yesterday_are_no_pace(store):
    fake = filled(store, skip=of_ft(), age=24 * 3600)
    with Lease(store, warn=lambda line: None):
        facts, _ = facts_of(fake)
    assert (facts["pace"], facts["eta_seconds"]) == (None, None)


def test_a_dead_driver_elsewhere_is_not_waited_for(store, monkeypatch):
    monkeypatch.setattr("tasks.store.lease.time.sleep", lambda seconds: pytest.fail("status waited"))
    holder = this_driver()
    gone = holder.__class__(**{**holder.__dict__, "machine": "another", "at": holder.at - 2 * STALE})
    fake = filled(store, skip=of_ft())
    store.put("lease.json", gone.packed())
    facts, text = facts_of(fake)
    assert (facts["state"], facts["driver"]["alive"]) == ("stopped", False)
    assert "a new run takes over" in " ".join(text.split())


def test_states_of_unfinished_trainings_are_told(store):
    fake = filled(store, skip=of_ft())
    node = next(node for node in fake.plan.nodes.values() if of_ft()(node))
    store.put(f"partial/{node.key}/v1-000004-900-0123456789abcdef.safetensors", b"")
    facts, text = facts_of(fake)
    epochs = node.inputs["params"]["epochs"]
    assert facts["saved_states"] == [{"node": node.words, "epoch": 4, "epochs": epochs}]
    assert f"epoch 4 of {epochs}" in " ".join(text.split())


def test_a_large_store_is_read_once(tmp_path, monkeypatch):
    fake = filled(Store(str(tmp_path)))
    reads = []
    whole = Store.get_many
    monkeypatch.setattr(
        Store, "get_many", lambda self, names: reads.extend(names := list(names)) or whole(self, names)
    )
    facts_of(fake)
    assert len(reads) <= len(set(reads)) + 1  # the data node: of which images the rows are
    assert not [name for name in reads if name.startswith("artifacts/")]


def test_the_exit_code_tells_of_failures(tmp_path, capsys):
    fake = filled(Store(str(tmp_path / "s")), fail=of_ft())
    assert grid.main(["status", "--store", fake.store.uri, "--json"]) == 3
    assert json.loads(capsys.readouterr().out)["done"] == len(fake.plan.nodes) - 7
