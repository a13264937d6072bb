"""Finished stores are scored again: metrics that came after them, without training, and read like any other."""

import csv
import io
import json
import shutil
from pathlib import Path

import pytest

from core.metrics.metric import Metric
from core.metrics.registry import METRICS
from core.seal import unsealed
from orchestrator import grid, load_results
from orchestrator.plan.grid_plan import make_plan
from orchestrator.report import references
from orchestrator.report.charts.page import make_charts
from orchestrator.report.contents import read_grid
from orchestrator.report.writing import write_report
from orchestrator.results.reading import measured_rows, read_rows
from orchestrator.tracking.mirror import Mirror
from tasks.job import Job, Place
from tasks.node import make_node
from tasks.nodes.dispatch import run_node
from tasks.record import SCHEMA_VERSION, Record, to_parquet
from tasks.store.store import Store

ATTACK = ("mia_auc", "mia_auc_low", "mia_auc_high", "mia_tpr", "margin_auc", "mia_separation", "mia_swing")


def confidence(seen) -> float:
    """A metric that nobody has registered: mean confidence on forgotten images, in percent."""
    return 100 * float(seen.forget.confidence.mean())


@pytest.fixture
def added(monkeypatch) -> str:
    """One more metric: a function and an entry."""
    entry = Metric(
        confidence,
        "Confidence",
        "%",
        "closer to Retrain",
        1,
        about="Confidence: of forgotten images, on average.",
    )
    monkeypatch.setitem(METRICS, "confidence", entry)
    return "confidence"


@pytest.fixture
def store(finished_store, tmp_path) -> Store:
    """A finished store of the test's own."""
    shutil.copytree(finished_store, tmp_path / "store")
    return Store(str(tmp_path / "store"))


@pytest.fixture
def older(store) -> Store:
    """The same as version 4 of the row schema left it: without the figures that came later."""
    for key, manifest in store.manifests(store.finished()).items():
        row = manifest.record.model_dump(mode="json") | {"scores": None, "schema_version": 4}
        row = {name: value for name, value in row.items() if name not in ("scores", "scored")}
        rewrite(store, key, row, Record.model_validate(row))
    return store


def rewrite(store: Store, key: str, row: dict, record: Record) -> None:
    """Another row in a finished node's manifest and part, as a version from before seals left them."""
    values = unsealed(store.get(f"manifests/{key}.json")) | {"record": row}
    del values["part"]
    store.put(f"manifests/{key}.json", json.dumps(values).encode())
    store.put(f"parts/{key}.parquet", to_parquet(record))


def score(store: Store, capsys, *more: str) -> dict:
    capsys.readouterr()
    assert grid.main(["score", "--store", store.uri, "--json", *more]) == 0
    return json.loads(capsys.readouterr().out)


def figures(store: Store, *names: str) -> dict[str, tuple]:
    """By key, what evaluations and selections say of some metrics."""
    rows, repairs = measured_rows(store)
    assert repairs == []
    found = (row for row in rows if row["kind"] in ("evaluate", "select"))
    return {row["key"]: tuple(row[name] for name in names) for row in found}


def test_new_evaluations_have_every_metric(store):
    assert all(None not in values for values in figures(store, *ATTACK).values())
    assert {row["schema_version"] for row in read_rows(store)[0]} == {SCHEMA_VERSION}


def test_an_older_store_gets_the_same_figures_without_training(store, finished_store, older, capsys):
    assert all(set(values) == {None} for values in figures(older, *ATTACK).values())
    before = older.finished()
    evaluations = [row for row in read_rows(older)[0] if row["kind"] == "evaluate"]
    assert score(older, capsys) == {"computed": 5 * len(evaluations), "lacking": {}, "failed": {}}
    assert figures(older, *ATTACK) == figures(Store(str(finished_store)), *ATTACK)
    own = [row for row in read_rows(older)[0] if row["key"] not in before]
    assert {row["kind"] for row in own} == {"score"}
    assert {row["scored"] for row in own} == {row["key"] for row in evaluations}


def test_scoring_again_finds_nothing_to_do_and_neither_does_a_run(older, capsys):
    score(older, capsys)
    files = older.sizes("")
    assert score(older, capsys)["computed"] == 0
    assert older.sizes("").keys() == files.keys()
    assert grid.main(["run", "--store", older.uri, "--executor", "inline", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["computed"] == 0


def test_only_the_named_metrics_are_computed(older, capsys):
    score(older, capsys, "--only", "mia_swing,mia_separation")
    for auc, swing in figures(older, "mia_auc", "mia_swing").values():
        assert auc is None
        assert swing is not None
    assert score(older, capsys, "--only", "mia_swing")["computed"] == 0


def test_merged_rows_and_rows_by_key_have_the_scores_too(older, capsys):
    score(older, capsys)
    expected = figures(older, *ATTACK)
    assert grid.main(["compact", "--store", older.uri, "--json"]) == 0
    assert figures(older, *ATTACK) == expected
    key = next(iter(expected))
    ((row,), _) = measured_rows(older, {key})
    assert tuple(row[name] for name in ATTACK) == expected[key]


def test_scores_of_weights_and_outputs_of_rows_that_are_too_old_for_them(store, capsys):
    """Version 1 knew neither step drift nor distances to Retrain; weights of losers are gone by now."""
    expected = figures(store, "step_drift", "activation_test")
    chosen = {row["model"] for row in read_rows(store)[0] if row["kind"] == "select"}
    for key, manifest in store.manifests(store.finished()).items():
        lost = {"step_drift": None, "activation_test": None, "schema_version": 1}
        row = manifest.record.model_dump(mode="json") | lost
        rewrite(store, key, row, manifest.record.model_copy(update=lost))
    found = score(store, capsys, "--only", "step_drift,activation_test")
    again = figures(store, "step_drift", "activation_test")
    rows = {row["key"]: row for row in read_rows(store)[0]}
    for key, values in expected.items():
        if rows[key]["kind"] == "select":
            assert again[key] == pytest.approx(values)
    losers = [r for r in rows.values() if r["kind"] == "evaluate" and r["method"] in ("ft", "ga", "qmul")]
    lacking = [key for keys in found["lacking"]["step_drift"].values() for key in keys]
    assert sorted(lacking) == sorted(row["key"] for row in losers if row["model"] not in chosen)
    assert all("was not kept" in reason for reason in found["lacking"]["step_drift"])


def test_what_is_not_kept_is_said_in_a_line(older, capsys):
    row = next(row for row in read_rows(older)[0] if row["kind"] == "evaluate")
    older.drop_file(row["model"], "predictions.npz")
    assert grid.main(["score", "--store", older.uri, "--only", "mia_swing"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert (
        f"mia_swing: 1 row stays without it: predictions.npz of node {row['model'][:12]} was not kept" in said
    )


def test_an_altered_file_fails_its_scores_alone(older, capsys):
    row = next(row for row in read_rows(older)[0] if row["kind"] == "evaluate")
    path = f"artifacts/{row['model']}/predictions.npz"
    older.put(path, older.get(path)[:-1] + b"?")
    assert grid.main(["score", "--store", older.uri, "--only", "mia_swing", "--json"]) == 3
    failed = json.loads(capsys.readouterr().out)["failed"]
    assert list(failed.values()) == [f"predictions.npz of node {row['model'][:12]} is not what was written "
        f"({len(older.get(path))} of {len(older.get(path))} bytes)"]  # fmt: skip
    assert sum(swing is None for (swing,) in figures(older, "mia_swing").values()) >= 1


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("score", "--only", "mia_suc"), "error: unknown metric 'mia_suc': did you mean 'mia_auc'? (valid: "),
        (("status", "--only", "mia"), "error: --only belongs to score, not to status: score --only mia"),
    ],
)
def test_a_wrong_name_is_one_line(store, capsys, arguments, line):
    assert grid.main([*arguments, "--store", store.uri]) == 2
    assert capsys.readouterr().err.startswith(line)


def test_a_score_of_an_unknown_metric_is_refused(store):
    about = next(row["key"] for row in read_rows(store)[0] if row["kind"] == "evaluate")
    with pytest.raises(Exception, match="unknown metric 'nothing'"):
        run_node(Job(make_node("score", (about,), {"metric": "nothing"}), Place(store.uri)))


# --- a metric that a test adds, in all the places that follow from its entry


def test_an_added_metric_is_in_rows_tables_charts_latex_csv_and_mlflow(
    store, tiny_module, added, capsys, monkeypatch
):
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.setattr(references, "LEVEL", 1.1)  # gaps also to a Retrain at chance level, as tiny's is
    plan, uri = make_plan(tiny_module), f"sqlite:///{store.path('mlflow.db')}"
    mirror = Mirror(uri, store, tiny_module, plan)
    assert mirror.sync() > 0  # the runs are there before the metric is
    mirror.close()
    score(store, capsys, "--only", added)

    frame = load_results(store.uri)
    chosen = frame.filter(frame["kind"] == "select")
    assert chosen[added].is_between(0, 100).all()

    found = read_grid(store, tiny_module, plan)
    (table,) = found.tables
    line = next(line for line in table.lines if line.method == "qmul")
    row = next(row for row in chosen.to_dicts() if row["method"] == "qmul")
    assert line.figures[added].mean == row[added]
    assert line.figures[added].gap is not None  # it is to be close to Retrain

    charts = make_charts(found)
    assert added in [shown.name for shown in charts.problems[0]]
    marks = {mark["method"]: mark for mark in charts.data["1"]["lines"]}
    assert marks["Q-MUL"][added] == pytest.approx(row[added], abs=1e-3)

    write_report(store, tiny_module, plan)
    folder = Path(store.path("report"))
    for name in ("report.md", "index.html"):
        page = (folder / name).read_text()
        for said in (
            "Confidence, %",
            "Further figures",
            "Confidence: of forgotten images, on average.",
            f"{row[added]:.1f}",
        ):
            assert said in page
    assert r"Confidence, \%" in (folder / "tables.tex").read_text()
    assert f"{row[added]:.1f}" in (folder / "tables.tex").read_text()
    for name, where in (
        ("results.csv", {"method": "qmul"}),
        ("trials.csv", {"method": "qmul", "selected": "true"}),
    ):
        lines = csv.DictReader(io.StringIO((folder / name).read_text()))
        (mine,) = (one for one in lines if where.items() <= one.items())
        assert float(mine[added]) == row[added]

    mirror = Mirror(uri, store, tiny_module, plan)
    assert mirror.sync() == sum(row["kind"] in ("evaluate", "select") for row in found.everything)
    assert mirror.sync() == 0
    mirror.close()
    client = mlflow.tracking.MlflowClient(uri)
    (experiment,) = (e for e in client.search_experiments() if e.name.startswith("unlearn-grid/"))
    runs = {run.data.tags["node_key"]: run.data for run in client.search_runs([experiment.experiment_id])}
    assert runs[row["key"]].metrics[added] == pytest.approx(row[added], rel=1e-4)  # five digits


def test_an_added_metric_is_measured_with_every_new_evaluation(store, added):
    node = next(n for n in store.nodes(store.finished()).values() if n.kind == "evaluate")
    store.forget_node(node.key)
    record = run_node(Job(node, Place(store.uri)))
    assert 0 < record.figures([added])[added] < 100


def test_a_metric_that_is_no_longer_registered_stays_in_the_store(store, added, capsys, monkeypatch):
    score(store, capsys, "--only", added)
    expected = figures(store, added)
    monkeypatch.delitem(METRICS, added)
    assert grid.main(["compact", "--store", store.uri, "--json"]) == 0
    frame = load_results(store.uri)
    kept = frame.filter(frame["kind"] == "evaluate")
    assert dict(zip(kept["key"], zip(kept[added], strict=True), strict=True)).items() <= expected.items()
