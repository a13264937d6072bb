"""What goes home in small pieces is enough to go on from."""

import json

import numpy as np
import pytest

from core.checkpoint import WEIGHTS
from core.errors import BadInput
from orchestrator.run.maintenance import quarantine_broken
from tasks.node import make_node
from tasks.nodes.result import PREDICTIONS
from tasks.record import Record
from tasks.store.store import Store
from tests.gpu_check.luggage import INDEX, pack, unpack

SIZE = 400_000  # bytes of weights that cannot be compressed


@pytest.fixture
def visit(tmp_path):
    """A folder with results and a store: an original, a trial that was evaluated, one that was not."""
    out = tmp_path / "out"
    store = Store(str(out / "store"))
    random = np.random.default_rng(1)
    original, trial, other = (
        make_node(kind, (), {"n": n}) for n, kind in enumerate(("original", "trial", "trial"))
    )
    for node in (original, trial, other):
        files = {WEIGHTS: random.bytes(SIZE), PREDICTIONS: random.bytes(SIZE // 4)}
        store.commit(node, files, {}, Record(key=node.key, kind=node.kind))
    evaluation = make_node("evaluate", (trial.key,), {})
    store.commit(evaluation, {}, {}, Record(key=evaluation.key, kind="evaluate"))
    store.put(f"partial/{'a' * 64}/state", random.bytes(2 * SIZE))
    (out / "parity.json").write_text("{}")
    (out / "decoded").mkdir()
    (out / "decoded" / "images").write_bytes(bytes(10 * SIZE))
    return out, store, original, trial, other


def at_home(home, out):
    assert unpack(home, out) == []
    return Store(str(out / "store"))


def test_a_store_goes_on_where_it_was_without_what_nobody_reads(visit, tmp_path):
    out, store, original, trial, other = visit
    assert pack(out, tmp_path / "home", part=SIZE // 2) == []
    files = list((tmp_path / "home").iterdir())
    assert all(file.stat().st_size <= SIZE // 2 for file in files)
    found = at_home(tmp_path / "home", tmp_path / "next")
    assert (tmp_path / "next" / "parity.json").read_text() == "{}"
    assert not (tmp_path / "next" / "decoded").exists()
    assert found.finished() == store.finished()
    assert quarantine_broken(found, found.finished()) == []
    assert found.read(original.key, WEIGHTS) == store.read(original.key, WEIGHTS)
    for node in (original, trial, other):
        assert found.read(node.key, PREDICTIONS) == store.read(node.key, PREDICTIONS)
    assert found.manifest(trial.key).removed == (WEIGHTS,)
    assert found.find(f"partial/{'a' * 64}/state") is not None


def test_what_does_not_fit_is_named_and_the_rest_is_whole(visit, tmp_path):
    """First weights to start from, then predictions that nothing has evaluated, then the other ones."""
    out, _, original, trial, other = visit
    left = pack(out, tmp_path / "home", part=SIZE, total=SIZE * 17 // 10)
    assert len(left) == 2
    assert all(
        name in line and "MiB" in line for name, line in zip((trial.key, "partial/"), left, strict=True)
    )
    found = at_home(tmp_path / "home", tmp_path / "next")
    assert quarantine_broken(found, found.finished()) == []
    assert found.manifest(trial.key).removed == (WEIGHTS, PREDICTIONS)
    assert found.read(original.key, WEIGHTS)
    assert found.read(original.key, PREDICTIONS)
    assert found.read(other.key, PREDICTIONS)


def test_packing_again_leaves_what_has_not_changed(visit, tmp_path):
    out, store, *_ = visit
    home = tmp_path / "home"
    pack(out, home, part=SIZE)
    before = {file.name: file.stat().st_mtime_ns for file in home.iterdir()}
    store.put("logs/x.log", b"more")
    pack(out, home, part=SIZE)
    after = {file.name: file.stat().st_mtime_ns for file in home.iterdir()}
    heavy = {name for name in before if name.startswith("weights")}
    assert heavy
    assert {name: before[name] for name in heavy} == {name: after[name] for name in heavy if name in after}
    assert {name.partition(".")[0] for name in after if name.startswith("results")}.isdisjoint(before)
    assert len({name.partition(".")[0] for name in after if name.startswith("results")}) == 1


def test_what_is_here_is_not_replaced(visit, tmp_path):
    out, *_ = visit
    pack(out, tmp_path / "home")
    (out / "parity.json").write_text("newer")
    unpack(tmp_path / "home", out)
    assert (out / "parity.json").read_text() == "newer"


def test_damage_is_told_and_heals(visit, tmp_path):
    out, _, original, *_ = visit
    home = tmp_path / "home"
    pack(out, home, part=SIZE)
    next(home.glob("weights-*.1")).write_bytes(b"broken")
    (line,) = unpack(home, tmp_path / "next")
    assert "weights" in line
    assert "damaged" in line
    found = Store(str(tmp_path / "next" / "store"))
    (told,) = quarantine_broken(found, found.finished())
    assert original.key[:12] in told


def test_a_folder_that_is_none_is_bad_input(tmp_path):
    with pytest.raises(BadInput, match="is not what a visit brought back"):
        unpack(tmp_path, tmp_path / "out")
    (tmp_path / INDEX).write_text(json.dumps({"parts": []}))
    assert unpack(tmp_path, tmp_path / "out") == []
