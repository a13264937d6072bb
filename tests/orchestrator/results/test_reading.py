import io
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from core.metrics.registry import all_columns
from orchestrator.results import reading
from orchestrator.results.reading import load_results, read_rows
from tasks.record import SCHEMA, to_parquet
from tasks.store.store import Store
from tests.orchestrator.fake_results import Fake, small_spec


@pytest.fixture(params=["local", "memory"])
def uri(request, tmp_path):
    return str(tmp_path / "grid") if request.param == "local" else f"memory://{tmp_path.name}"


def filled(uri: str) -> Fake:
    fake = Fake(Store(uri), small_spec(methods=("retrain", "qmul")))
    fake.fill()
    return fake


def test_every_row_comes_back_as_written(uri):
    fake = filled(uri)
    rows, warnings = read_rows(fake.store)
    assert warnings == []
    assert {row["key"]: row for row in rows} == {k: r.model_dump() for k, r in fake.rows.items()}


def test_the_frame_has_the_declared_columns_in_order(uri):
    fake = filled(uri)
    frame = load_results(uri)
    declared = [name for name in SCHEMA.names if name != "scores"]
    assert frame.columns == [*declared, *(name for name in all_columns() if name not in declared)]
    assert len(frame) == len(fake.rows)
    assert str(frame.schema["curve"]).startswith("List(Struct(")


def test_an_empty_store_gives_an_empty_frame_of_the_same_types(uri, tmp_path):
    filled(uri)
    assert load_results(str(tmp_path / "nothing")).schema == load_results(uri).schema


def test_only_the_asked_nodes_are_read(uri):
    fake = filled(uri)
    some = sorted(fake.rows)[:3]
    assert [row["key"] for row in read_rows(fake.store, some)[0]] == some


@pytest.mark.parametrize("damage", [b"", b"PAR1", b"not parquet at all"])
def test_a_corrupt_part_of_a_finished_node_is_set_aside_and_written_again(uri, damage):
    fake = filled(uri)
    key = sorted(fake.rows)[2]
    fake.store.put(f"parts/{key}.parquet", damage)
    rows, (warning,) = read_rows(fake.store)
    assert "quarantine" in warning
    assert key[:12] in warning
    assert {row["key"]: row for row in rows}[key] == fake.rows[key].model_dump()
    assert fake.store.get(f"quarantine/parts/{key}.parquet") == damage
    assert read_rows(fake.store) == (rows, [])


def test_a_corrupt_part_of_an_unfinished_node_is_dropped(uri):
    fake = filled(uri)
    key = sorted(fake.rows)[2]
    fake.store.put(f"parts/{key}.parquet", b"PAR1")
    fake.store.forget_node(key)
    rows, (warning,) = read_rows(fake.store)
    assert "until the node is computed again" in warning
    assert key not in {row["key"] for row in rows}
    assert read_rows(fake.store) == (rows, [])


def test_a_part_of_another_node_is_corrupt(uri):
    fake = filled(uri)
    one, other = sorted(fake.rows)[:2]
    fake.store.put(f"parts/{one}.parquet", fake.store.get(f"parts/{other}.parquet"))
    rows, warnings = read_rows(fake.store)
    assert len(warnings) == 1
    assert len(rows) == len(fake.rows)


def test_a_missing_part_of_a_finished_node_is_written_again(uri):
    fake = filled(uri)
    fake.store.remove(f"parts/{sorted(fake.rows)[0]}.parquet")
    rows, (warning,) = read_rows(fake.store)
    assert "missing" in warning
    assert len(rows) == len(fake.rows)


def test_a_late_failure_does_not_hide_a_finished_node(uri):
    fake = filled(uri)
    key = sorted(fake.rows)[0]
    late = fake.rows[key].model_copy(update={"status": "failed"})
    fake.store.put(
        f"parts/{key}.parquet", to_parquet(late)
    )  # another driver, between our check and its write
    rows, (warning,) = read_rows(fake.store)
    assert "finished" in warning
    assert all(row["status"] == "done" for row in rows)


def test_without_polars_rows_are_the_same(uri, monkeypatch):
    fake = filled(uri)
    expected = read_rows(fake.store)
    monkeypatch.setattr(reading, "read_at_once", lambda sources: None)
    assert read_rows(fake.store) == expected


def rewrite(fake: Fake, key: str, change) -> None:
    """Another version's part in the place of a node's: the same row in a table with other columns."""
    table = change(pq.read_table(io.BytesIO(to_parquet(fake.rows[key]))))
    buffer = io.BytesIO()
    pq.write_table(table.replace_schema_metadata(None), buffer)
    fake.store.put(f"parts/{key}.parquet", buffer.getvalue())
    lacking = dict.fromkeys(fake.rows[key].model_fields_set - set(table.column_names))
    # manifests named no parts then, and their rows had no other columns
    fake.store._amend(key, lambda values: {"part": None, "record": values["record"] | lacking})


@pytest.mark.parametrize("which", ["first", "last", "all"])
def test_rows_of_an_older_schema_are_read_beside_new_ones(uri, which):
    fake = filled(uri)
    keys = sorted(fake.rows)
    old = {"first": keys[:1], "last": keys[-1:], "all": keys}[which]
    for key in old:
        rewrite(fake, key, lambda table: table.drop_columns("step_drift"))
    rows, warnings = read_rows(fake.store)
    assert warnings == []
    expected = {k: r.model_dump() | ({"step_drift": None} if k in old else {}) for k, r in fake.rows.items()}
    assert {r["key"]: r for r in rows} == expected


def test_columns_of_a_later_schema_are_left_out(uri):
    fake = filled(uri)
    expected = read_rows(fake.store)
    rewrite(fake, sorted(fake.rows)[0], lambda table: table.append_column("colour", pa.array(["red"])))
    assert read_rows(fake.store) == expected


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_store_that_cannot_be_repaired_still_gives_its_rows(tmp_path):
    fake = filled(str(tmp_path / "grid"))
    key = sorted(fake.rows)[0]
    fake.store.put(f"parts/{key}.parquet", b"PAR1")
    Path(fake.store.path("parts")).chmod(0o500)
    rows, (warning,) = read_rows(fake.store)
    Path(fake.store.path("parts")).chmod(0o700)
    assert "cannot be repaired" in warning
    assert len(rows) == len(fake.rows)
