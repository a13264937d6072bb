"""Compaction: the rows of finished nodes in one file, found by every reader at every moment."""

import json
import threading

import pytest

from orchestrator import grid, load_results
from orchestrator.plan.grid_plan import make_plan
from orchestrator.results import merged_rows, reading
from orchestrator.results.reading import read_rows
from orchestrator.run import maintenance
from orchestrator.run.maintenance import compact
from tasks.store.lease import Lease
from tasks.store.store import Store
from tests.orchestrator.fake_results import Fake, small_spec
from tests.orchestrator.grid_command import write_spec


@pytest.fixture(params=["local", "memory"])
def uri(request, tmp_path):
    return str(tmp_path / "grid") if request.param == "local" else f"memory://{tmp_path.name}"


def filled(uri: str, **changes) -> Fake:
    fake = Fake(Store(uri), small_spec(**({"methods": ("retrain", "qmul")} | changes)))
    fake.fill()
    return fake


def by_key(store: Store) -> dict:
    rows, warnings = read_rows(store)
    assert warnings == []
    return {row["key"]: row for row in rows}


def of_kind(fake: Fake, kind: str) -> str:
    return next(key for key, node in fake.plan.nodes.items() if node.kind == kind)


def test_rows_are_the_same_in_one_file_as_in_many(uri):
    fake = filled(uri)
    before = by_key(fake.store)
    frame = load_results(uri)
    assert compact(fake.store) == (len(before), len(before))
    assert fake.store.names("parts") == []
    assert len(fake.store.names("rows")) == 1
    assert by_key(fake.store) == before
    assert load_results(uri).equals(frame)
    some = sorted(before)[:3]
    assert [row["key"] for row in read_rows(fake.store, some)[0]] == some
    assert fake.store.names("parts") == []


def test_a_second_compaction_changes_nothing(uri):
    fake = filled(uri)
    compact(fake.store)
    before = fake.store.sizes("rows")
    assert compact(fake.store) == (len(fake.rows), 0)
    assert fake.store.sizes("rows") == before


def test_nodes_finished_later_are_merged_with_those_before(uri):
    fake = filled(uri)
    compact(fake.store)
    wider = Fake(fake.store, small_spec(methods=("retrain", "qmul", "ft")))
    wider.rows = dict(fake.rows)
    wider.fill(skip=lambda node: node.key in fake.rows)
    new = len(wider.rows) - len(fake.rows)
    before = by_key(fake.store)
    assert new > 0
    assert compact(fake.store) == (len(wider.rows), new)
    assert by_key(fake.store) == before
    assert len(fake.store.names("rows")) == 1


def test_failures_and_forgotten_nodes_stay_parts(uri):
    fake = Fake(Store(uri), small_spec(methods=("retrain", "qmul", "ft")))
    fake.fill(fail=lambda node: node.kind == "trial" and node.inputs["method"] == "ft")
    forgotten = of_kind(fake, "select")
    fake.store.forget_node(forgotten)
    before = by_key(fake.store)
    failed = {key for key, row in before.items() if row["status"] == "failed"}
    assert len(failed) == 3
    compact(fake.store)
    assert {name.removesuffix(".parquet") for name in fake.store.names("parts")} == {*failed, forgotten}
    assert by_key(fake.store) == before


def test_an_empty_store_has_nothing_to_merge(uri):
    assert compact(Store(uri)) == (0, 0)
    assert Store(uri).names("rows") == []


class TestAMergedNode:
    """What happens to a node whose row is merged is what happens to one with a part."""

    def test_forgotten_keeps_its_row_until_it_is_computed_again(self, uri):
        fake = filled(uri)
        before, key = by_key(fake.store), of_kind(fake, "trial")
        compact(fake.store)
        fake.store.forget_node(key)
        assert key not in fake.store.finished()
        assert by_key(fake.store) == before

    def test_quarantined_has_no_row_until_it_is_computed_again(self, uri):
        fake = filled(uri)
        before, key = by_key(fake.store), of_kind(fake, "trial")
        compact(fake.store)
        fake.store.quarantine(key)
        assert by_key(fake.store) == {k: row for k, row in before.items() if k != key}
        compact(fake.store)
        fake.store.commit(fake.plan.nodes[key], {}, {}, fake.rows[key])
        assert by_key(fake.store) == before

    def test_computed_again_has_its_new_row_and_loses_the_old_one(self, uri):
        fake = filled(uri)
        key = of_kind(fake, "trial")
        compact(fake.store)
        new = fake.rows[key].model_copy(update={"seconds": 77.0})
        fake.store.commit(fake.plan.nodes[key], {}, {}, new)
        assert by_key(fake.store)[key]["seconds"] == 77.0
        assert compact(fake.store) == (len(fake.rows), 1)
        assert by_key(fake.store)[key]["seconds"] == 77.0
        assert len(fake.store.names("rows")) == 1

    def test_late_failures_do_not_hide_it(self, uri):
        fake = filled(uri)
        before, key = by_key(fake.store), of_kind(fake, "trial")
        compact(fake.store)
        fake.store.note_failure(fake.rows[key].model_copy(update={"status": "failed"}), "late")
        assert by_key(fake.store) == before


@pytest.mark.parametrize("damage", [b"", b"PAR1", "altered"])
def test_a_corrupt_file_is_set_aside_and_its_rows_are_taken_from_the_manifests(uri, damage):
    fake = filled(uri)
    before = by_key(fake.store)
    compact(fake.store)
    name = f"rows/{fake.store.names('rows')[0]}"
    whole = fake.store.get(name)
    data = whole[:100] + bytes([whole[100] ^ 1]) + whole[101:] if damage == "altered" else damage
    fake.store.put(name, data)
    rows, (warning,) = read_rows(fake.store)
    assert "quarantine" in warning
    assert {row["key"]: row for row in rows} == before
    assert fake.store.get(f"quarantine/{name}") == data
    assert by_key(fake.store) == before
    assert compact(fake.store) == (len(before), len(before))


def test_without_polars_merged_rows_are_the_same(uri, monkeypatch):
    fake = filled(uri)
    compact(fake.store)
    before = by_key(fake.store)
    monkeypatch.setattr(merged_rows, "read_at_once", lambda sources: None)
    assert by_key(fake.store) == before


class Cut(Exception):
    """The process ends here."""


@pytest.mark.parametrize("when", range(6))
def test_cut_off_anywhere_nothing_is_lost(uri, when, monkeypatch):
    """A node of the first file is computed anew, so that an older row of it lies there at every moment."""
    fake = filled(uri)
    compact(fake.store)
    key = of_kind(fake, "trial")
    fake.store.commit(fake.plan.nodes[key], {}, {}, fake.rows[key].model_copy(update={"seconds": 77.0}))
    wider = Fake(fake.store, small_spec(methods=("retrain", "qmul", "ft")))
    wider.rows = dict(fake.rows)
    wider.fill(skip=lambda node: node.key in fake.rows)
    before = by_key(fake.store)
    assert before[key]["seconds"] == 77.0

    put, remove, steps = Store.put, Store.remove_files, []

    def step(work):
        if len(steps) == when:
            raise Cut
        steps.append(work)
        work()

    def remove_files(self, names):
        some = list(names)
        middle = len(some) // 2
        step(lambda: remove(self, some[:middle]))
        step(lambda: remove(self, some[middle:]))

    with monkeypatch.context() as patch:
        patch.setattr(Store, "put", lambda self, name, data: step(lambda: put(self, name, data)))
        patch.setattr(Store, "remove_files", remove_files)
        try:
            compact(fake.store)
        except Cut:
            pass
        else:
            assert when == 5
    assert by_key(fake.store) == before
    compact(fake.store)
    assert by_key(fake.store) == before
    assert fake.store.names("parts") == []
    assert len(fake.store.names("rows")) == 1


@pytest.mark.parametrize("at", ["_scan", "read_merged"])
def test_a_reader_that_a_compaction_overtakes_finds_every_row(uri, at, monkeypatch):
    """Between the listing of what is there and its reading, all of it moves."""
    fake = filled(uri)
    before, key = by_key(fake.store), of_kind(fake, "trial")
    newer = fake.rows[key].model_copy(update={"log": "x"})
    if at == "read_merged":
        compact(fake.store)
        fake.store.commit(fake.plan.nodes[key], {}, {}, fake.rows[key])
    really, listing, moved = getattr(reading, at), merged_rows.merged_files, []

    def overtaken(*arguments):
        if not moved:
            moved.append(True)
            listed = listing(fake.store)
            with monkeypatch.context() as patch:
                patch.setattr(reading, at, really)
                fake.store.commit(fake.plan.nodes[key], {}, {}, newer)
                compact(fake.store)
            if at == "read_merged":
                assert listed != listing(fake.store)
                with monkeypatch.context() as patch:
                    patch.setattr(merged_rows, "merged_files", lambda store: listed)
                    return really(*arguments)
        return really(*arguments)

    monkeypatch.setattr(reading, at, overtaken)
    rows, warnings = read_rows(fake.store)
    assert warnings == []
    assert moved
    assert {row["key"]: row for row in rows} == before | {key: before[key] | {"log": "x"}}
    assert fake.store.names("parts") == []


def test_readers_and_compactions_at_the_same_time(tmp_path):
    fake = filled(str(tmp_path), methods=("retrain", "ft", "qmul"))
    before, over, seen = by_key(fake.store), threading.Event(), []

    def read():
        store = Store(str(tmp_path))
        while not over.is_set():
            seen.append(read_rows(store))

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    keys = list(fake.plan.nodes)
    for number in range(8):
        for key in keys[number::8]:
            fake.store.commit(fake.plan.nodes[key], {}, {}, fake.rows[key])
        compact(fake.store)
    over.set()
    for reader in readers:
        reader.join()
    assert len(seen) > 2
    for rows, warnings in seen:
        assert warnings == []
        assert {row["key"]: row for row in rows} == before


def test_reading_an_object_store_takes_one_read_instead_of_two_for_each_row(s3_bucket):
    fake = filled(f"{s3_bucket}/grid")
    before = by_key(fake.store)
    assert fetched(fake.store) == 2 * len(before)  # its part, and the manifest that names the part's digest
    compact(fake.store)
    assert fetched(fake.store) == 1
    assert by_key(fake.store) == before


def fetched(store: Store) -> int:
    """Files that reading all rows of a store fetches."""
    count, cat_file = [], type(store.fs)._cat_file

    async def counted(self, path, *arguments, **options):
        count.append(path)
        return await cat_file(self, path, *arguments, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(store.fs), "_cat_file", counted)
        read_rows(store)
    return len(count)


class TestVerb:
    def call(self, tmp_path, fake, *arguments) -> int:
        spec = write_spec(tmp_path, fake.spec)
        return grid.main(["compact", "--spec", str(spec), "--store", fake.store.address, *arguments])

    def test_it_says_how_many_rows_it_merged(self, tmp_path, capsys):
        fake = filled(str(tmp_path / "grid"))
        count = len(make_plan(fake.spec).nodes)
        assert self.call(tmp_path, fake) == 0
        assert f"{count} rows in one file, {count} of them merged now" in capsys.readouterr().out
        assert self.call(tmp_path, fake, "--json") == 0
        assert json.loads(capsys.readouterr().out) == {"rows": count, "merged": 0}

    def test_it_keeps_off_a_store_that_a_driver_works_on(self, tmp_path, capsys):
        fake = filled(str(tmp_path / "grid"))
        before = fake.store.names("parts")
        with Lease(fake.store, warn=print):
            assert self.call(tmp_path, fake) == 2
        assert "live driver" in capsys.readouterr().err
        assert fake.store.names("parts") == before
        assert maintenance.compact(fake.store) == (len(fake.rows), len(fake.rows))
