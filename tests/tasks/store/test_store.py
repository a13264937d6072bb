"""The store: whole files or none, manifests last, broken nodes noticed and set aside."""

import io
import json
import os
import signal
import subprocess
import sys
import time

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from core.errors import BadInput
from core.seal import unsealed
from orchestrator.results.reading import read_rows
from tasks.errors import Unavailable
from tasks.node import make_node
from tasks.record import SCHEMA, SCHEMA_VERSION, Candidate, EpochFact, Record, from_parquet, to_parquet
from tasks.store.store import Corrupt, Store

NODE = make_node("trial", (), {"dataset": "digits"})


def committed(store, node=NODE, data=b"weights"):
    record = Record(key=node.key, kind=node.kind, dataset="digits", fa=12.5)
    store.commit(node, {"model.safetensors": data}, {"digest": "x"}, record)
    return record


@pytest.fixture(params=["folder", "memory", "s3"])
def store(request, tmp_path):
    if request.param == "s3":
        return Store(f"{request.getfixturevalue('s3_bucket')}/deep/store")
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


def test_everything_in_quarantine_is_whole(store):
    committed(store)
    store.quarantine(NODE.key)
    assert store.get(f"quarantine/artifacts/{NODE.key}/model.safetensors") == b"weights"
    assert store.get(f"quarantine/parts/{NODE.key}.parquet")
    assert store.names("parts") == []
    assert store.file_sizes() == {}


def test_the_manifest_is_written_last_and_a_commit_cut_off_anywhere_is_no_result(store, monkeypatch):
    """The storage goes away before the first, the second, … write: only all of them make a finished node."""
    really, order, room = Store.put, [], 0

    def put(self, name, data):
        if len(order) == room:
            raise Unavailable("gone")
        order.append(name)
        really(self, name, data)

    monkeypatch.setattr(Store, "put", put)
    while room < 3:
        order.clear()
        with pytest.raises(Unavailable):
            committed(store)
        assert store.finished() == set()
        with pytest.raises(Corrupt, match="is missing"):
            store.manifest(NODE.key)
        room += 1
    order.clear()
    room = None
    committed(store)
    assert [name.split("/")[0] for name in order] == ["artifacts", "parts", "manifests"]
    assert store.finished() == {NODE.key}


def test_what_another_process_writes_is_listed_at_once(store):
    """Nothing is remembered of an earlier listing: the reader is opened and has listed before the write."""
    reader = Store(store.address)
    assert (reader.finished(), reader.file_sizes()) == (set(), {})
    committed(store)
    assert reader.finished() == {NODE.key}
    assert reader.file_sizes() == {f"{NODE.key}/model.safetensors": 7}
    store.drop_file(NODE.key, "model.safetensors")
    assert reader.file_sizes() == {}
    store.forget_node(NODE.key)
    assert reader.finished() == set()


def test_manifests_are_read_at_once_and_broken_ones_set_apart(store):
    record = committed(store)
    store.put(f"manifests/{'0' * 64}.json", b"[]")
    broken = {}
    found = store.manifests([NODE.key, "0" * 64, "1" * 64], broken)
    assert {key: m.record for key, m in found.items()} == {NODE.key: record}
    assert broken.keys() == {"0" * 64, "1" * 64}
    with pytest.raises(Corrupt):
        store.manifests(["1" * 64])


def test_of_two_that_create_a_file_one_wins(store):
    assert store.create("lease.json", b"first")
    assert not store.create("lease.json", b"second")
    assert store.get("lease.json") == b"first"


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
        "import sys; from tasks.store.store import Store\nstore = Store(sys.argv[1])\n"
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


def part_of_version_1(record):
    """A part as it was written before rows had step_drift."""
    schema = pa.schema([field for field in SCHEMA if field.name != "step_drift"])
    row = record.model_dump(exclude={"step_drift"}) | {"schema_version": 1}
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist([row], schema=schema), buffer, write_page_checksum=True)
    return buffer.getvalue()


def test_a_row_of_schema_version_1_has_no_step_drift():
    (row,) = from_parquet(part_of_version_1(Record(key="k", kind="trial", flip_rate=0.25)))
    record = Record.model_validate(row)
    assert (record.schema_version, record.flip_rate, record.step_drift) == (1, 0.25, None)


def test_a_store_of_schema_version_1_still_reads_and_new_rows_join_the_old(store):
    old, other = committed(store), make_node("trial", (), {"dataset": "cifar10"})
    new = Record(key=other.key, kind="trial", step_drift=0.5)
    store.commit(other, {}, {}, new)
    store.put(f"parts/{NODE.key}.parquet", part_of_version_1(old))
    raw = unsealed(store.get(f"manifests/{NODE.key}.json"))
    del raw["record"]["step_drift"], raw["part"]
    store.put(f"manifests/{NODE.key}.json", json.dumps(raw).encode())
    assert store.manifest(NODE.key).record == old
    rows, warnings = read_rows(store)
    assert warnings == []
    assert {row["key"]: (row["schema_version"], row["fa"], row["step_drift"]) for row in rows} == {
        NODE.key: (1, 12.5, None),
        other.key: (SCHEMA_VERSION, None, 0.5),
    }


def test_what_another_driver_removes_at_the_same_moment_is_gone(store, monkeypatch):
    store.put("partial/a/one", b"1")
    store.put("partial/a/two", b"2")
    really = type(store.fs).rm

    def rm(fs, path, **options):
        monkeypatch.undo()
        really(fs, store.path("partial/a/one"))
        raise FileNotFoundError(path)

    monkeypatch.setattr(type(store.fs), "rm", rm)
    store.remove("partial/a")
    assert store.names("partial/a") == []
