"""Long trainings leave their state in the store, go on from it, and remove it once they are committed."""

import pytest

from core.checkpoint import WEIGHTS
from orchestrator.plan.grid_plan import make_plan
from orchestrator.spec.specification import parse_spec
from tasks.job import Job, Place
from tasks.node import make_node, whole_trial
from tasks.nodes import warm
from tasks.nodes.failures import attempt
from tasks.nodes.result import MARGINS, PREDICTIONS
from tasks.nodes.unfinished import Partial
from tasks.record import Record
from tasks.store.store import Store

KEY = "cd" * 32


@pytest.fixture
def store(tmp_path):
    return Store(str(tmp_path / "store"))


@pytest.fixture
def job(tiny, store, tmp_path):
    """An original of six epochs that leaves a state every two; its data node is done."""
    warm.clear()
    place = Place(store.address, device="cpu", cache=str(tmp_path / "cache"), checkpoint_epochs=2)
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
    assert left.startswith("v2-000004-")

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
    partial = Partial(store, KEY, 10)
    partial.save(10, b"ten")
    (ten,) = store.names(f"partial/{KEY}")
    partial.save(20, b"twenty")
    (twenty,) = store.names(f"partial/{KEY}")
    store.put(f"partial/{KEY}/{ten}", b"ten")
    assert Partial(store, KEY, 10).load() == b"twenty"
    store.put(f"partial/{KEY}/{twenty}", b"twen")
    assert Partial(store, KEY, 10).load() == b"ten"
    store.put(f"partial/{KEY}/{ten}", b"")
    store.put(f"partial/{KEY}/notes.txt", b"")
    assert Partial(store, KEY, 10).load() is None


def test_what_diverged_does_not_go_on_from_its_state(store):
    Partial(store, KEY, 10).save(10, b"ten")
    store.note_failure(Record(key=KEY, kind="original", status="failed", error_kind="system"), "")
    assert store.names(f"partial/{KEY}")
    store.note_failure(Record(key=KEY, kind="original", status="failed", error_kind="numeric"), "")
    assert store.names(f"partial/{KEY}") == []


def test_a_state_of_more_epochs_than_asked_for_is_passed_over(store):
    Partial(store, KEY, 10).save(4, b"four")
    assert Partial(store, KEY, 10, until=3).load() is None
    assert Partial(store, KEY, 10, until=4).load() == b"four"


def test_a_trial_in_parts_ends_as_the_whole_trial(tiny, store, tmp_path):
    spec = parse_spec(tiny.model_dump(mode="json") | {"params": {"qmul": {"epochs": 3, "batch_size": 32}}})
    plan, place = make_plan(spec), Place(store.address, device="cpu", cache=str(tmp_path / "cache"))
    trial = next(n for n in plan.nodes.values() if n.kind == "trial" and n.inputs["method"] == "qmul")
    for parent in trial.parents:
        assert attempt(Job(plan.nodes[parent], place)).failure is None
    whole = attempt(Job(trial, place)).record
    weights = store.read(trial.key, WEIGHTS)
    store.forget_node(trial.key)
    for until in (1, 2):
        part = make_node("trial", trial.parents, trial.inputs | {"until": until})
        assert whole_trial(part) == trial.key
        record = attempt(Job(part, place)).record
        assert (record.epochs, record.curve) == (until, whole.curve[: until * len(whole.curve) // 3])
        assert store.manifest(part.key).files.keys() == {PREDICTIONS, MARGINS}
        assert store.names(f"partial/{trial.key}")
    resumed = attempt(Job(trial, place)).record
    assert store.read(trial.key, WEIGHTS) == weights
    assert (resumed.epochs, resumed.curve) == (3, whole.curve)
    assert store.names(f"partial/{trial.key}") == []
