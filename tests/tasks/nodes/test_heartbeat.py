"""What a node at work says of itself, and that nobody has to wait for it."""

import json
import time

import pytest

from orchestrator.plan.grid_plan import make_plan
from tasks.job import Job, Place
from tasks.nodes import heartbeat
from tasks.nodes.dispatch import run_node
from tasks.nodes.heartbeat import Heartbeat
from tasks.store.running import SILENT, name_of, read_running, remove_silent
from tasks.store.store import Store


@pytest.fixture
def store(tmp_path):
    return Store(str(tmp_path / "store"))


@pytest.fixture
def nodes(tiny):
    return {node.kind: node for node in make_plan(tiny).nodes.values()}


@pytest.fixture
def at_once(monkeypatch):
    """Workers speak every few milliseconds, from the start."""
    monkeypatch.setattr(heartbeat, "_FIRST", 0.005)
    monkeypatch.setattr(heartbeat, "beat", lambda files: 0.005)


def soon(look):
    """What `look` gives once it gives something."""
    for _ in range(2000):
        if found := look():
            return found
        time.sleep(0.005)
    pytest.fail("nothing came")


def test_a_node_at_work_is_seen_with_its_epochs_and_gone_at_its_end(store, nodes, at_once):
    node = nodes["original"]
    with Heartbeat(store.address, node) as said:
        said.batch(32)
        said.epoch(0, {"loss": 1.5})
        told = soon(lambda: [t for t in read_running(store).values() if t.epoch == 1])[0]
        assert (told.key, told.node, told.epochs) == (node.key, node.words, 2)
        assert told.facts == {"loss": 1.5}
        assert told.silent < SILENT
    assert read_running(store) == {}
    assert store.names("running") == []


def test_a_node_that_fails_leaves_no_word(store, nodes, at_once):
    def broken():
        with Heartbeat(store.address, nodes["trial"]):
            soon(lambda: read_running(store))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        broken()
    assert read_running(store) == {}


def test_speed_and_time_left_follow_from_the_epochs(store, nodes, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(heartbeat.time, "monotonic", lambda: now[0])
    said = Heartbeat(store.address, nodes["original"])
    said.expect(64)
    assert (said.now().per_second, said.now().left) == (None, None)
    for _ in range(2):
        said.batch(32)
        now[0] += 4.0
    said.batch(0)
    found = said.now()
    assert found.per_second == pytest.approx(64 / 8)
    assert found.left == pytest.approx(2 * 8 - 8)  # two epochs of 64 images, of which one is over
    said.epoch(0, {})
    assert (said.now().left, said.now().whole) == (pytest.approx(8.0), pytest.approx(16.0))
    now[0] += 3.0
    assert said.now().idle == pytest.approx(3.0)


def test_epochs_of_a_saved_state_are_behind_it_but_tell_no_time(store, nodes):
    said = Heartbeat(store.address, nodes["original"])
    said.epoch(0, {"loss": 2.0})
    assert (said.now().epoch, said.now().left) == (1, None)


def test_a_storage_that_is_away_does_not_hold_up_a_node(nodes, tmp_path, at_once):
    (tmp_path / "file").write_text("")
    begun = time.monotonic()
    with Heartbeat(str(tmp_path / "file" / "store"), nodes["original"]) as said:
        time.sleep(0.05)
        said.batch(8)
    assert time.monotonic() - begun < 30  # and not the minute for which a write of results is tried


def test_words_that_are_none_are_left_out(store, nodes, at_once):
    keys = [node.key for node in nodes.values()]
    with Heartbeat(store.address, nodes["original"]):
        soon(lambda: read_running(store))
        good = json.loads(store.get(name_of(nodes["original"].key)))
        for number, data in enumerate(
            (b"", b"[1", b"[]", b"\xff", json.dumps(good | {"epoch": -1}).encode())
        ):
            store.put(name_of(f"{number:064x}"), data)
        store.put("running/notes.txt", b"x")
        assert read_running(store).keys() == {nodes["original"].key}
        assert read_running(store, [keys[0]]) == {}


def test_what_a_killed_worker_left_is_removed_once_it_is_silent(store, nodes, monkeypatch):
    said = Heartbeat(store.address, nodes["trial"]).now()
    old = said.model_copy(update={"told": said.told - 2 * SILENT})
    store.put(name_of(nodes["trial"].key), old.model_dump_json().encode())
    store.put(name_of(nodes["original"].key), said.model_dump_json().encode())
    remove_silent(store)
    assert store.names("running") == [f"{nodes['original'].key}.json"]


def test_whoever_waits_for_a_training_is_called_after_every_batch(tiny, tmp_path):
    plan = make_plan(tiny)
    nodes = {node.kind: node for node in plan.nodes.values()}
    place = Place(str(tmp_path / "store"), cache=str(tmp_path / "cache"), device="cpu")
    calls = []
    run_node(Job(nodes["data"], place), lambda: calls.append("data"))
    run_node(Job(nodes["original"], place), lambda: calls.append("original"))
    assert calls == ["original"] * (2 * 4)  # two epochs of 108 images in batches of 32


def test_results_are_the_same_whether_or_not_anybody_looks(tiny, tmp_path, at_once):
    plan = make_plan(tiny)
    nodes = {node.kind: node for node in plan.nodes.values()}
    curves = []
    for name, meanwhile in (("one", None), ("other", lambda: time.sleep(0.01))):
        place = Place(str(tmp_path / name), cache=str(tmp_path / "cache"), device="cpu")
        run_node(Job(nodes["data"], place), meanwhile)
        curves.append(run_node(Job(nodes["original"], place), meanwhile).curve)
    assert curves[0] == curves[1]
