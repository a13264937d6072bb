"""Long trainings leave their state in the store, go on from it, and remove it once they are committed."""

import pytest

from orchestrator.plan import make_plan
from tasks import partial, warm
from tasks.failures import attempt
from tasks.job import Job, Place
from tasks.node import make_node
from tasks.partial import Partial
from tasks.record import Record
from tasks.store import Store

KEY = "cd" * 32


@pytest.fixture
def store(tmp_path):
    return Store(str(tmp_path / "store"))


@pytest.fixture
def job(tiny, store, tmp_path, monkeypatch):
    """An original of six epochs that leaves a state every two; its data node is done."""
    monkeypatch.setattr(partial, "EVERY", 2)
    warm.clear()
    place = Place(store.address, device="cpu", cache=str(tmp_path / "cache"))
    data, original, *_ = make_plan(tiny).nodes.values()
    attempt(Job(data, place))
    params = original.inputs["params"] | {"epochs": 6}
    return Job(make_node("original", original.parents, original.inputs | {"params": params}), place)


def test_a_node_that_was_cut_off_goes_on_and_leaves_nothing_behind(job, store, monkeypatch):
    node, really = job.node, Partial.save
    whole = attempt(job).record
    weights = store.read(node.key, "model.safetensors")
    assert store.names(f"partial/{node.key}") == []
    store.remove(f"manifests/{node.key}.json")

    def save(self, epoch, data):
        really(self, epoch, data)
        if epoch == 4:
            raise OSError("the worker dies here")

    monkeypatch.setattr(Partial, "save", save)
    assert attempt(job).failure == "system"
    (left,) = store.names(f"partial/{node.key}")  # the state after two epochs went when that after four came
    assert left.startswith("v1-000004-")

    saved = []
    monkeypatch.setattr(Partial, "save", lambda self, epoch, data: saved.append(epoch))
    outcome = attempt(job)
    assert outcome.failure is None
    assert saved == []  # it took up after four of six epochs
    assert store.read(node.key, "model.safetensors") == weights
    assert outcome.record.curve == whole.curve
    assert outcome.record.seconds > int(left.split("-")[2]) / 1000
    assert store.names(f"partial/{node.key}") == []


def test_a_state_that_is_not_whole_is_passed_over(store):
    partial = Partial(store, KEY)
    partial.save(10, b"ten")
    (ten,) = store.names(f"partial/{KEY}")
    partial.save(20, b"twenty")
    (twenty,) = store.names(f"partial/{KEY}")
    store.put(f"partial/{KEY}/{ten}", b"ten")
    assert Partial(store, KEY).load() == b"twenty"
    store.put(f"partial/{KEY}/{twenty}", b"twen")
    assert Partial(store, KEY).load() == b"ten"
    store.put(f"partial/{KEY}/{ten}", b"")
    store.put(f"partial/{KEY}/notes.txt", b"")
    assert Partial(store, KEY).load() is None


def test_what_diverged_does_not_go_on_from_its_state(store):
    Partial(store, KEY).save(10, b"ten")
    store.note_failure(Record(key=KEY, kind="original", status="failed", error_kind="system"), "")
    assert store.names(f"partial/{KEY}")
    store.note_failure(Record(key=KEY, kind="original", status="failed", error_kind="numeric"), "")
    assert store.names(f"partial/{KEY}") == []
