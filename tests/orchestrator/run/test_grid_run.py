"""The whole road on a grid of seconds: run, run again, break things, run again. In this process, through the CLI."""

import csv
import json
from dataclasses import replace

import pytest

from core.checkpoint import WEIGHTS, unpack
from core.unlearn import METHODS
from orchestrator import grid
from orchestrator.plan.grid_plan import make_plan
from tasks.nodes import warm
from tasks.store.store import Corrupt, Store
from tests.orchestrator.grid_command import rows, write_spec


@pytest.fixture
def command(tiny, tmp_path):
    """Runs the command line on the tiny grid; returns the exit code."""
    spec = write_spec(tmp_path, tiny)

    def call(*arguments, store=tmp_path / "store"):
        warm.clear()
        base = ["--spec", str(spec), "--store", str(store), "--executor", "inline"]
        return grid.main([*arguments[:1], *base, *arguments[1:]])

    return call


@pytest.fixture
def store(tmp_path):
    return Store(str(tmp_path / "store"))


def computed(capsys):
    return json.loads(capsys.readouterr().out)["computed"]


def test_a_grid_runs_to_its_table_and_a_second_run_computes_nothing(command, store, tiny, capsys):
    plan = make_plan(tiny)
    assert command("run", "--json") == 0
    assert computed(capsys) == len(plan.nodes)
    assert store.finished() == plan.nodes.keys()
    assert rows(store.root).keys() == plan.nodes.keys()
    before = rows(store.root)
    assert command("run", "--json") == 0
    assert computed(capsys) == 0
    assert rows(store.root) == before
    for name in ("index.html", "report.md", "results.csv", "results.parquet"):
        assert store.get(f"report/{name}")


def test_a_second_store_gets_identical_results(command, store, tmp_path):
    assert command("run") == 0
    assert command("run", store=tmp_path / "other") == 0
    assert rows(store.root) == rows(tmp_path / "other")


def test_only_selected_weights_are_kept_and_predictions_always(command, store, tiny):
    command("run")
    nodes = make_plan(tiny).nodes
    chosen = {r["model"] for r in rows(store.root).values() if r["kind"] == "select"}
    for key, node in nodes.items():
        if node.kind in ("original", "retrain", "trial"):
            kept = node.kind != "trial" or key in chosen
            assert (f"{key}/{WEIGHTS}" in store.file_sizes()) == kept
            assert store.read(key, "predictions.npz")
    assert len(chosen) == 3


def test_keep_all_keeps_every_weight(command, store, tiny):
    command("run", "--set", "keep=all")
    trained = [k for k, n in make_plan(tiny).nodes.items() if n.kind in ("original", "retrain", "trial")]
    assert all(unpack(store.read(key, WEIGHTS)) for key in trained)


def test_a_wider_grid_reuses_what_is_done(command, store, capsys):
    command("run", "--json")
    first = computed(capsys)
    assert (
        command("run", "--json", "--set", "methods=retrain,ft,ga,qmul,rl", "--set", "params.rl.epochs=1") == 0
    )
    assert computed(capsys) == 5  # two trials, two evaluations, one selection
    assert first == 20


def test_another_selection_brings_dropped_weights_back(command, store, tiny, capsys):
    """Selecting on test figures may choose a trial whose weights the first selection dropped."""
    command("run")
    assert command("run", "--set", "select_on=test") == 0
    for row in rows(store.root).values():
        if row["kind"] == "select":
            assert unpack(store.read(row["model"], WEIGHTS))


def test_a_truncated_checkpoint_is_quarantined_and_computed_again(command, store, tiny, capsys):
    command("run")
    before = rows(store.root)
    key = next(k for k, n in make_plan(tiny).nodes.items() if n.kind == "original")
    store.put(f"artifacts/{key}/{WEIGHTS}", store.get(f"artifacts/{key}/{WEIGHTS}")[:1000])
    capsys.readouterr()
    assert command("run") == 0
    output = capsys.readouterr().out
    assert "quarantined" in output
    assert "1 nodes computed" in output
    assert rows(store.root) == before
    assert store.get(f"quarantine/artifacts/{key}/{WEIGHTS}")


def test_a_bit_flipped_in_a_parent_is_found_when_it_is_read(command, store, tiny, capsys):
    command("run")
    before = rows(store.root)
    nodes = make_plan(tiny).nodes
    original = next(k for k, n in nodes.items() if n.kind == "original")
    trial = next(k for k, n in nodes.items() if n.kind == "trial")
    data = bytearray(store.get(f"artifacts/{original}/{WEIGHTS}"))
    data[-1] ^= 1
    store.put(f"artifacts/{original}/{WEIGHTS}", bytes(data))
    store.forget_node(trial)
    assert command("run") == 0
    assert "quarantined original" in capsys.readouterr().out
    assert rows(store.root) == before


def test_a_corrupt_part_is_rewritten_from_its_manifest(command, store, tiny, capsys):
    command("run")
    before = rows(store.root)
    key = next(iter(make_plan(tiny).nodes))
    store.put(f"parts/{key}.parquet", b"PAR1 nonsense")
    assert command("report") == 0
    assert rows(store.root) == before


def test_a_failing_trial_is_a_row_and_the_grid_goes_on(command, store, tiny, capsys):
    failing = ("--set", "params.ga.lr=1e30", "--set", "params.ga.step_trust=null")
    assert command("run", *failing) == 3
    output = capsys.readouterr().out
    assert "--retry-failed" in output
    assert "not finite" in output
    failed = [r for r in rows(store.root).values() if r["status"] == "failed"]
    assert [r["error_kind"] for r in failed] == ["numeric"]
    selected = {r["method"] for r in rows(store.root).values() if r["kind"] == "select"}
    assert selected == {"ft", "qmul"}
    assert command("run", "--json", *failing) == 3  # the same numbers would diverge again
    assert computed(capsys) == 0


@pytest.mark.parametrize(("error", "kind"), [(MemoryError("full"), "memory"), (OSError("gone"), "system")])
def test_out_of_memory_and_the_like_are_rows_too_and_are_tried_again(
    command, store, tiny, capsys, monkeypatch, error, kind
):
    def fail(*_arguments):
        raise error

    whole = METHODS["ga"]
    monkeypatch.setitem(METHODS, "ga", replace(whole, run=fail))
    assert command("run") == 3
    failed = [r for r in rows(store.root).values() if r["status"] == "failed"]
    assert [r["error_kind"] for r in failed] == [kind, kind]
    assert str(error) in capsys.readouterr().out
    monkeypatch.setitem(METHODS, "ga", whole)  # more memory, another disk
    assert command("run") == 0
    assert store.finished() == make_plan(tiny).nodes.keys()
    assert store.failures() == {}


def test_retry_failed_runs_only_the_failed_nodes_and_what_needs_them(command, store, tiny, capsys):
    command("run", "--json")
    plan = make_plan(tiny)
    trial = next(k for k, n in plan.nodes.items() if n.kind == "trial" and n.inputs["method"] == "ft")
    record = store.manifest(trial).record.model_copy(update={"status": "failed", "error_kind": "numeric"})
    store.forget_node(trial)
    store.note_failure(record, "")
    capsys.readouterr()
    assert command("run", "--json", "--retry-failed") == 0
    assert computed(capsys) == 3  # the trial, its evaluation, its cell's selection
    assert store.failures() == {}


def test_fresh_computes_everything_again_with_the_same_result(command, store, tiny, capsys):
    command("run", "--json")
    before = rows(store.root)
    capsys.readouterr()
    assert command("run", "--json", "--fresh") == 0
    assert computed(capsys) == len(make_plan(tiny).nodes)
    assert rows(store.root) == before


def test_a_budget_too_short_for_anything_starts_nothing_long(command, capsys):
    assert command("run", "--json", "--budget", "1s") == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["left"] > 0
    assert command("run", "--json") == 0
    assert json.loads(capsys.readouterr().out)["left"] == 0


def test_plan_and_status_count_what_is_done(command, tiny, capsys):
    command("plan", "--json")
    facts = json.loads(capsys.readouterr().out)
    assert (facts["cells"], facts["done"]) == (4, 0)
    assert facts["nodes"]["trial"] == 6
    command("run", "--json")
    capsys.readouterr()
    assert command("status", "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["done"] == len(make_plan(tiny).nodes)
    assert facts["hours"] == 0


def test_plan_writes_nothing(command, store, tmp_path):
    command("plan")
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize(
    "overrides",
    [
        ("classes=3", "ratios=[]"),
        ("archs=mobilenetv2", "widths.mobilenetv2=0.1"),
        ("protocol=released",),
        pytest.param(("quantizers=fp,8w8a-fpends",), marks=pytest.mark.slow),
        ("select_on=test", "validation=0"),
        ("split=mismatched", "select_on=test", "methods=ft"),
        pytest.param(("seeds=1,2",), marks=pytest.mark.slow),
        ("methods=retrain,iu,rl,l1_sparse,salun", "params.rl.epochs=1", "params.iu.fisher_samples=40"),
    ],
    ids="; ".join,
)
def test_every_axis_of_a_grid_runs(command, store, overrides, capsys):
    assert command("run", "--json", *(word for o in overrides for word in ("--set", o))) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["failed"] == []
    chosen = [r for r in rows(store.root).values() if r["kind"] == "select"]
    assert chosen
    assert all(0 <= r[name] <= 100 for r in chosen for name in ("fa", "ra", "ta", "mia", "ag"))


def test_variants_run_beside_their_method_and_are_told_apart_everywhere(command, store, tmp_path, capsys):
    labels = ("qmul:norm=dataset:order=sequential", "qmul:protocol=released", "qmul:labels=similar")
    methods = ("retrain", *labels, "qmul")
    assert command("run", "--json", "--set", f"methods={','.join(methods)}") == 0
    capsys.readouterr()
    found = list(rows(store.root).values())
    assert {r["method"] for r in found if r["kind"] == "select"} == {*labels, "qmul"}
    assert {r["method"] for r in found if r["kind"] == "trial"} == {"qmul"}
    # what spells out a default has the plain method's trials, and so its figures
    assert len([r for r in found if r["kind"] == "trial"]) == 2 * 3
    chosen = {r["method"]: r for r in found if r["kind"] == "select"}
    gaps = {label: [c["ag"] for c in row["candidates"]] for label, row in chosen.items()}
    assert gaps["qmul:labels=similar"] == gaps["qmul"]
    assert chosen["qmul:labels=similar"]["ag_validation"] == chosen["qmul"]["ag_validation"]
    with (tmp_path / "store" / "report" / "results.csv").open(newline="") as file:
        listed = [line["method"] for line in csv.DictReader(file)]
    assert listed == ["original", "retrain", "qmul", *labels]
    page = store.get("report/index.html").decode()
    assert "norm dataset, order sequential" in page
    assert "protocol released" in page


def test_a_forgotten_class_leaves_the_test_images(command, store):
    command("run", "--set", "classes=3", "--set", "ratios=[]")
    for row in rows(store.root).values():
        if row["kind"] == "evaluate":
            assert row["test_count"] == 54  # a tenth of 60 stratified test images are gone
            assert row["forget_count"] == 11  # 12 of 120, less the one held out for validation


def test_a_file_that_breaks_again_and_again_fails_its_reader_instead_of_looping(
    command, store, capsys, monkeypatch
):
    really = Store.read

    def read(self, key, name):
        if name == WEIGHTS:
            raise Corrupt(key, name, "is not what was written")
        return really(self, key, name)

    monkeypatch.setattr(Store, "read", read)
    assert command("run") == 3
    assert "is not what was written" in capsys.readouterr().out
    failed = [r for r in rows(store.root).values() if r["status"] == "failed"]
    assert {r["kind"] for r in failed} == {"trial"}
