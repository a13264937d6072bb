"""A cell's files in MLflow, and the filters that the note and the README recommend."""

import csv
import io
import xml.etree.ElementTree as ET

import pytest

from core.metrics.gap import FIGURES
from orchestrator.tracking.artifacts import cell_files
from orchestrator.tracking.mirror import Mirror, tracking_uri
from orchestrator.tracking.notes import FILTERS
from tasks.store.store import Store
from tests.orchestrator.fake_results import Fake, small_spec

mlflow = pytest.importorskip("mlflow", reason="mlflow is not installed")
pytestmark = pytest.mark.filterwarnings("ignore:.*noload.*")


@pytest.fixture(scope="module")
def fake(private_surroundings, tmp_path_factory):
    """A grid of two forget sets with one failed trial, mirrored into its own database."""
    made = Fake(
        Store(str(tmp_path_factory.mktemp("files") / "grid")),
        small_spec(methods=("retrain", "ft", "l1_sparse", "iu", "qmul"), ratios=(0.1, 0.3)),
    )
    bad = next(n.key for n in made.plan.nodes.values() if n.kind == "trial" and n.inputs["method"] == "ft")
    made.fill(fail=lambda node: node.key == bad)
    mirror = Mirror(tracking_uri(made.spec, made.store), made.store, made.spec, made.plan)
    mirror.sync()
    assert mirror.warning is None
    mirror.close()
    return made


@pytest.fixture(scope="module")
def client(fake):
    return mlflow.tracking.MlflowClient(tracking_uri(fake.spec, fake.store))


def found(client, query=""):
    experiment = client.get_experiment_by_name("unlearn-grid/small")
    return client.search_runs([experiment.experiment_id], query, max_results=500)


def test_every_cell_has_its_table_and_every_search_its_chart(fake, client):
    for run in found(client):
        names = {file.path for file in client.list_artifacts(run.info.run_id)}
        if run.data.tags["kind"] == "trial":
            assert names == set()
        else:
            searched = run.data.tags["method"] not in ("retrain", "original")
            assert names == ({"trials.csv", "search.svg"} if searched else {"trials.csv"})


def selections(fake):
    return [row for row in fake.rows.values() if row.kind == "select"]


def files_of(fake, row):
    trials = [fake.rows[c.evaluation] for c in row.candidates]
    return cell_files("a cell", row, trials, fake.rows[row.reference]), trials


def test_the_table_has_every_trial_and_its_gaps(fake):
    for row in selections(fake):
        files, trials = files_of(fake, row)
        lines = {line["key"]: line for line in csv.DictReader(io.StringIO(files["trials.csv"]))}
        assert lines.keys() == {trial.key for trial in trials}
        assert [key for key, line in lines.items() if line["selected"]] == [row.selected]
        for candidate in row.candidates:
            line, trial = lines[candidate.evaluation], fake.rows[candidate.evaluation]
            assert float(line["ag"]) == pytest.approx(candidate.ag, abs=0.005)
            assert float(line["ag_validation"]) == pytest.approx(candidate.ag_validation, abs=0.005)
            for name in FIGURES:
                gap = abs(getattr(trial, name) - getattr(fake.rows[row.reference], name))
                assert float(line[f"{name}_gap"]) == pytest.approx(gap, abs=0.005)


def test_the_chart_is_an_svg_that_names_its_axes_and_lines(fake):
    for row in selections(fake):
        files, _ = files_of(fake, row)
        texts = {element.text for element in ET.fromstring(files["search.svg"]).iter() if element.text}
        searched = row.tried.split()[0]
        assert {f"{searched} (log scale)", "gap to Retrain (percentage points)", "selected"} <= texts
        assert {"AG", "FA", "RA", "TA", "MIA"} <= texts


def test_one_trial_has_a_table_and_no_chart(fake):
    row = selections(fake)[0]
    only = fake.rows[row.selected]
    assert cell_files("a cell", row, [only], fake.rows[row.reference]).keys() == {"trials.csv"}


def test_files_that_cannot_be_written_cost_one_line_and_no_figures(fake, client, tmp_path, monkeypatch):
    other = Fake(Store(str(tmp_path / "other")), fake.spec.model_copy(update={"recipe": "no_files"}))
    other.fill()
    said: list[str] = []
    uri = tracking_uri(fake.spec, fake.store)
    mirror = Mirror(uri, other.store, other.spec, other.plan, said.append)
    monkeypatch.setattr(mirror._tracker, "attach", lambda *a: 1 / 0)
    assert mirror.sync() == len([n for n in other.plan.nodes.values() if n.kind in ("evaluate", "select")])
    mirror.close()
    (line,) = said
    assert "took no files" in line


EXPECTED = {
    "tags.kind = 'cell'": lambda r: r["kind"] == "select" or r["method"] in ("retrain", "original"),
    "tags.kind = 'trial'": lambda r: r["kind"] == "trial",
    "tags.method = 'qmul' and tags.selected = 'true'": lambda r: r["method"] == "qmul" and r["chosen"],
    "tags.kind = 'trial' and tags.method = 'qmul' and metrics.ag < 10": (
        lambda r: r["kind"] == "trial" and r["method"] == "qmul" and r["ag"] < 10
    ),
    "tags.amount = '0.1' and tags.quant = '4w4a' and tags.kind = 'cell'": (
        lambda r: r["amount"] == 0.1 and r["kind"] != "trial"
    ),
    "tags.dataset = 'cifar10' and metrics.fa_gap < 5 and metrics.ra_gap < 1": (
        lambda r: r["fa_gap"] < 5 and r["ra_gap"] < 1
    ),
    "attributes.status = 'FAILED'": lambda r: r["status"] == "failed",
}


def rows_of(fake):
    """What a run is of, by its node's key, with its gaps worked out here."""
    plan, seen = fake.plan, {}
    chosen = {row.selected for row in selections(fake)}
    retrain = {r.amount: r for r in fake.rows.values() if r.kind == "evaluate" and r.method == "retrain"}
    for node in plan.nodes.values():
        if node.kind not in ("evaluate", "select"):
            continue
        row = fake.rows.get(node.key)
        kind = "trial" if "tried" in node.inputs else node.kind
        gaps = (
            {f"{n}_gap": abs(getattr(row, n) - getattr(retrain[row.amount], n)) for n in FIGURES}
            if row
            else {}
        )
        base = {"kind": kind, "method": node.inputs["method"], "amount": node.inputs["amount"]}
        base |= {"status": "done" if row else "failed", "chosen": node.key in chosen}
        seen[node.key] = base | dict.fromkeys([f"{n}_gap" for n in FIGURES], 1e9) | gaps
        seen[node.key]["ag"] = sum(gaps.values()) / 4 if gaps else 1e9
    return seen


@pytest.mark.parametrize("query", EXPECTED)
def test_a_filter_of_the_note_finds_exactly_what_it_says(fake, client, query):
    wanted = {key for key, row in rows_of(fake).items() if EXPECTED[query](row)}
    assert 0 < len(wanted) < len(rows_of(fake))
    assert {run.data.tags["node_key"] for run in found(client, query)} == wanted


def test_the_note_has_these_filters():
    assert {query.replace("'digits'", "'cifar10'") for query in FILTERS} == EXPECTED.keys()
