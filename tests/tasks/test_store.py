"""The store: whole files or none, manifests last, broken nodes noticed and set aside."""

import os
import signal
import subprocess
import sys
import time

import pytest

from core.errors import BadInput
from tasks.node import make_node
from tasks.record import SCHEMA, Candidate, EpochFact, Record, from_parquet, to_parquet
from tasks.store import Corrupt, Store

NODE = make_node("trial", (), {"dataset": "digits"})


def committed(store, node=NODE, data=b"weights"):
    record = Record(key=node.key, kind=node.kind, dataset="digits", fa=12.5)
    store.commit(node, {"model.safetensors": data}, {"digest": "x"}, record)
    return record


@pytest.fixture(params=["folder", "memory"])
def store(request, tmp_path):
    uri = str(tmp_path / "store") if request.param == "folder" else f"memory://{tmp_path.name}-{os.getpid()}"
    return Store(uri)


def test_a_committed_node_is_finished_and_reads_back(store):
    record = committed(store)
    assert store.finished() == {NODE.key}
    assert store.read(NODE.key, "model.safetensors") == b"weights"
    assert store.manifest(NODE.key).record == record
    assert store.manifest(NODE.key).facts == {"digest": "x"}


def test_committing_twice_changes_nothing(store):
    committed(store)
    before = store.get(f"manifests/{NODE.key}.json"), store.get(f"parts/{NODE.key}.parquet")
    committed(store)
    assert (store.get(f"manifests/{NODE.key}.json"), store.get(f"parts/{NODE.key}.parquet")) == before


@pytest.mark.parametrize("damage", [b"", b"weight", b"weighTs"])
def test_an_altered_file_is_corrupt(store, damage):
    committed(store)
    store.put(f"artifacts/{NODE.key}/model.safetensors", damage)
    with pytest.raises(Corrupt) as caught:
        store.read(NODE.key, "model.safetensors")
    assert caught.value.key == NODE.key


def test_a_missing_file_is_corrupt(store):
    committed(store)
    store.remove(f"artifacts/{NODE.key}/model.safetensors")
    with pytest.raises(Corrupt, match="is missing"):
        store.read(NODE.key, "model.safetensors")


@pytest.mark.parametrize("damage", [b"", b"{}", b"{", b"\xff\xfe"])
def test_a_broken_manifest_is_corrupt(store, damage):
    committed(store)
    store.put(f"manifests/{NODE.key}.json", damage)
    with pytest.raises(Corrupt):
        store.manifest(NODE.key)


def test_quarantine_moves_everything_and_the_node_can_be_computed_again(store):
    committed(store)
    store.quarantine(NODE.key)
    assert store.finished() == set()
    assert store.get(f"quarantine/manifests/{NODE.key}.json")
    committed(store)
    store.quarantine(NODE.key)  # a second time replaces the first
    assert store.finished() == set()


def test_a_file_dropped_on_purpose_is_noted(store):
    committed(store)
    store.drop_file(NODE.key, "model.safetensors")
    store.drop_file(NODE.key, "model.safetensors")
    assert store.manifest(NODE.key).removed == ("model.safetensors",)
    assert store.file_sizes() == {}


def test_sizes_are_listed_by_node_and_file(store):
    committed(store)
    assert store.file_sizes() == {f"{NODE.key}/model.safetensors": 7}


def test_a_failure_is_kept_until_the_node_succeeds(store):
    record = Record(
        key=NODE.key, kind="trial", status="failed", error_kind="numeric", error_message="loss is nan"
    )
    store.note_failure(record, "Traceback …")
    assert store.failures() == {NODE.key: record}
    assert from_parquet(store.get(f"parts/{NODE.key}.parquet"))[0]["status"] == "failed"
    committed(store)
    assert store.failures() == {}


def test_a_store_that_cannot_be_written_is_bad_input(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match="cannot be written"):
        Store(str(tmp_path / "file" / "store")).check_writable()


def test_a_process_killed_while_it_writes_leaves_no_half_files(tmp_path):
    code = (
        "import sys; from tasks.store import Store\nstore = Store(sys.argv[1])\n"
        "while True:\n  for c in b'ab': store.put('file', bytes([c]) * 3_000_000)"
    )
    for _ in range(3):
        process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)])
        deadline = time.monotonic() + 60
        while not (tmp_path / "file").exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
        process.wait()
        data = (tmp_path / "file").read_bytes()
        assert data in (b"a" * 3_000_000, b"b" * 3_000_000)
        assert Store(str(tmp_path)).names(".") == ["file"]


def test_a_row_survives_parquet_with_every_column():
    record = Record(
        key="k",
        kind="select",
        amount=0.1,
        seed=3,
        candidates=[Candidate(evaluation="e", ag=1.5, ag_validation=2.0)],
        curve=[EpochFact(epoch=0, name="loss", value=0.25)],
    )
    (row,) = from_parquet(to_parquet(record))
    assert Record.model_validate(row) == record
    assert list(row) == SCHEMA.names == list(Record.model_fields)
