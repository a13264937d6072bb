"""Forgetting measured on the exported network: what a grid that asks for it adds, and where its figures stand."""

from types import SimpleNamespace

import pytest

from core.metrics import FIGURES, predictions
from orchestrator import grid
from orchestrator.plan.grid_plan import make_plan
from orchestrator.report.exported import export_tables, exports_markdown
from orchestrator.report.tabulation import build_tables
from orchestrator.results import known_grids
from orchestrator.results.entries import collect
from orchestrator.results.figures import with_figures
from orchestrator.results.reading import load_results, measured_rows
from orchestrator.spec.specification import parse_spec
from orchestrator.tracking import run_values
from tasks.job import Job, Place
from tasks.nodes.dispatch import run_node
from tasks.nodes.exported import EXPORTED
from tasks.nodes.result import PREDICTIONS
from tasks.store.store import Store
from tests.one_problem import digits


def spec_of(**changes):
    values = digits().model_dump(mode="json") | {
        "archs": ["lenet"],
        "quantizers": ["4w4a"],
        "methods": ["retrain", "ft"],
        "original": {"epochs": 2, "batch_size": 32},
        "retrain": {"epochs": 2},
        "params": {"ft": {"epochs": 1, "batch_size": 32}},
        "data": {"limit": {"train": 150, "test": 60}},
        "search": {"trials": 2},
    }
    return parse_spec(values | changes)


def run_what_is_missing(plan, store: Store) -> list[str]:
    """Computes the nodes of a plan that a store lacks; returns their kinds."""
    finished = store.finished()
    missing = [node for key, node in plan.nodes.items() if key not in finished]
    for node in missing:
        run_node(Job(node, Place(store.uri)))
    return [node.kind for node in missing]


@pytest.fixture(scope="module")
def exported(tmp_path_factory) -> SimpleNamespace:
    """A finished grid, and then the evaluation of its exported networks."""
    store = Store(str(tmp_path_factory.mktemp("exported")))
    run_what_is_missing(make_plan(spec_of()), store)
    spec = spec_of(export={"evaluate": True})
    plan = make_plan(spec)
    return SimpleNamespace(store=store, spec=spec, plan=plan, added=run_what_is_missing(plan, store))


def rows_of(exported, kind):
    return [row for row in measured_rows(exported.store)[0] if row["kind"] == kind]


def test_a_finished_grid_only_gains_the_evaluations_of_its_cells(exported):
    assert exported.added == ["evaluate_export"] * 2
    assert make_plan(spec_of()).nodes.keys() < exported.plan.nodes.keys()
    assert known_grids.grid_file(spec_of()) != known_grids.grid_file(exported.spec)


def test_the_file_that_was_measured_is_kept_and_decides_as_the_network_did(exported):
    for row in rows_of(exported, "evaluate_export"):
        assert exported.store.read(row["key"], EXPORTED)[:1] == b"\x08"  # a protocol buffer
        kept = predictions.unpack(exported.store.read(row["key"], PREDICTIONS))
        assert {part: len(each) for part, each in kept.items()} == {"train": 150, "test": 60}
        assert row["decided_alike"] >= 99.5  # one image of 210 is 0.48
        assert "onnxruntime" in row["versions"]
        assert row["mia"] is not None


def test_its_figures_stand_beside_the_fake_quantized_ones(exported):
    beside = {row["scored"]: row for row in rows_of(exported, "evaluate_export")}
    (chosen,) = rows_of(exported, "select")
    own = beside[chosen["key"]]
    assert own["method"] == "ft"
    assert own["model"] == chosen["model"]
    for name in FIGURES:
        assert chosen[f"{name}_exported"] == own[name]
        assert chosen[f"{name}_exported"] == pytest.approx(chosen[name], abs=5)
    frame = load_results(exported.store.uri)
    assert frame.filter(kind="select")["fa_exported"].to_list() == [own["fa"]]
    assert frame.filter(kind="trial")["fa_exported"].to_list() == [None, None]


def test_mlflow_gets_them_below_export(exported):
    node = next(node for node in exported.plan.nodes.values() if node.kind == "evaluate_export")
    told = run_values.beside(exported.store.manifest(node.key).record)
    assert told.keys() == {f"export/{name}" for name in (*FIGURES, "decided_alike")}


def changed_rows(exported, **changes):
    """The rows, with what the exported network of FT's cell says changed."""
    rows = measured_rows(exported.store)[0]
    for row in rows:
        if row["kind"] == "select":
            row["scores"] = [score for score in row["scores"] if score["name"] not in changes]
            row["scores"] += [{"name": name, "value": value} for name, value in changes.items()]
    return rows


def notes(exported, **changes):
    (table,) = build_tables(exported.spec, exported.plan, changed_rows(exported, **changes))
    return [note for note in table.notes if "xported" in note]


def test_the_report_says_how_far_they_agree_and_flags_what_does_not(exported):
    (line,) = notes(exported, decided_alike=100.0)
    assert line.startswith("2 exported networks, run by onnxruntime, decide at least ")
    *_, flagged = notes(exported, decided_alike=97.5, fa_exported=12.5)
    assert flagged.startswith("≠ FT, seed 1: its exported network decides only 97.50 % as it did")
    assert "→ 12.50" in flagged


def test_a_table_has_both_figures_where_they_differ(exported):
    rows = changed_rows(exported, decided_alike=97.5, fa_exported=12.5)
    (table,) = export_tables(collect(exported.plan, with_figures(rows)))
    retrain, ft = table.cells
    assert (retrain[0], ft[0], ft[-1]) == ("Retrain", "FT", "97.50 ≠")
    assert ft[2].endswith("→ 12.50")
    assert "→" not in retrain[2]
    text = exports_markdown([table])
    assert text.startswith("## Exported networks")
    assert text.count("\n| ") == 3


@pytest.mark.slow
def test_the_page_has_the_section(exported):
    known_grids.remember(exported.store, exported.spec, exported.plan)
    assert grid.main(["report", "--store", exported.store.uri]) == 0
    page = exported.store.get("report/index.html").decode()
    assert '<a href="#exported">Exported networks</a>' in page
    assert page.count('<section id="exported">') == 1
