import json
import os
import random
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from core.metrics.gap import FIGURES
from orchestrator.spec.colours import colour_of
from orchestrator.tracking.client import Data, Run
from orchestrator.tracking.mirror import Mirror, tracking_uri
from orchestrator.tracking.notes import FILTERS
from orchestrator.tracking.views import VIEWS
from tasks.record import Record
from tasks.store.running import Running
from tasks.store.store import Store
from tests.orchestrator.fake_results import Fake, small_spec

mlflow = pytest.importorskip("mlflow", reason="mlflow is not installed")
pytestmark = pytest.mark.filterwarnings("ignore:.*noload.*")


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    """One database for all tests, because making one takes seconds; stores differ, so runs do not mix."""
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow') / 'shared.db'}"


@pytest.fixture
def fake(tmp_path):
    made = Fake(Store(str(tmp_path / "grid")), small_spec(methods=("retrain", "ft", "qmul")))
    made.fill()
    return made


def mirror_of(fake: Fake, uri: str, **options) -> Mirror:
    mirror = Mirror(uri, fake.store, fake.spec, fake.plan, **options)
    assert mirror.warning is None
    return mirror


def runs(fake: Fake, uri: str) -> dict:
    """This store's runs by name."""
    client = mlflow.tracking.MlflowClient(uri)
    experiment = client.get_experiment_by_name("unlearn-grid/small")
    found = client.search_runs([experiment.experiment_id], f"tags.store = '{fake.store.uri}'")
    assert len({run.info.run_name for run in found}) == len(found)
    return {run.info.run_name: run for run in found}


def facts(found: dict) -> dict:
    """What runs say, ids and the store's place aside."""
    names = {run.info.run_id: name for name, run in found.items()}
    said = {}
    for name, run in found.items():
        store = run.data.tags["store"]
        tags = {k: v.replace(store, "…") for k, v in run.data.tags.items() if k != "mlflow.parentRunId"}
        parent = names.get(run.data.tags.get("mlflow.parentRunId"))
        said[name] = run.data.metrics, run.data.params, tags, run.info.status, run.info.end_time, parent
    return said


CELL = "cifar10 · resnet18 4w4a · 10 %"


def test_one_run_for_each_trial_below_its_cell(fake, database):
    mirror = mirror_of(fake, database)
    for record in fake.rows.values():
        mirror.push(record)
    mirror.close()
    found = runs(fake, database)
    assert len(found) == 2 + 2 * (1 + 3)
    assert {f"Retrain · {CELL}", f"Original · {CELL}", f"Q-MUL · {CELL}", f"Q-MUL · lr 0.01 · {CELL}"} <= set(
        found
    )
    cell = found[f"Q-MUL · {CELL}"]
    for name in ("lr 0.001", "lr 0.01", "lr 0.1"):
        assert found[f"Q-MUL · {name} · {CELL}"].data.tags["mlflow.parentRunId"] == cell.info.run_id
    assert {run.info.status for run in found.values()} == {"FINISHED"}


def test_a_cell_has_the_figures_of_its_chosen_trial(fake, database):
    mirror = mirror_of(fake, database)
    assert mirror.sync() == 10
    mirror.close()
    found = runs(fake, database)
    (select,) = (r for r in fake.rows.values() if r.kind == "select" and r.method == "qmul")
    cell = found[f"Q-MUL · {CELL}"].data
    told = {n: cell.metrics[n] for n in (*FIGURES, "ag")}
    assert told == pytest.approx({n: getattr(select, n) for n in told}, rel=1e-4)
    trials = [r.data for n, r in found.items() if n.startswith("Q-MUL · lr ")]
    (chosen,) = (t for t in trials if t.tags["selected"] == "true")
    assert chosen.tags["node_key"] == select.selected
    assert chosen.metrics["ag"] == pytest.approx(select.ag, rel=1e-4)
    assert chosen.params["lr"] == cell.params["lr"]
    assert chosen.params["dataset"] == "cifar10"
    assert [t.tags["selected"] for t in trials].count("false") == 2
    assert cell.tags["code_revision"] == "abc1234"


def test_a_trial_has_its_curve(fake, database):
    mirror = mirror_of(fake, database)
    mirror.sync()
    mirror.close()
    run = runs(fake, database)[f"Q-MUL · lr 0.01 · {CELL}"]
    history = mlflow.tracking.MlflowClient(database).get_metric_history(run.info.run_id, "epoch/loss")
    model = fake.rows[fake.rows[run.data.tags["node_key"]].model]
    expected = [(f.epoch, f.value) for f in model.curve if f.name == "loss"]
    assert sorted((point.step, point.value) for point in history) == expected


def test_every_run_has_its_gaps_to_retrain(fake, database):
    mirror = mirror_of(fake, database)
    mirror.sync()
    mirror.close()
    rows = {(r.kind, r.method): r for r in fake.rows.values()}
    reference = rows["evaluate", "retrain"]
    found = runs(fake, database)
    trials = [run for name, run in found.items() if " · lr " in name]
    assert len(trials) == 6
    for run in found.values():
        row = fake.rows[run.data.tags["node_key"]]
        gaps = {f"{name}_gap": abs(getattr(row, name) - getattr(reference, name)) for name in FIGURES}
        assert {name: run.data.metrics[name] for name in gaps} == pytest.approx(gaps, rel=1e-4)
        if row.method != "retrain":
            assert run.data.metrics["ag"] == pytest.approx(sum(gaps.values()) / 4, rel=1e-4)
    assert "ag" not in found[f"Retrain · {CELL}"].data.metrics  # it would stand first, as if it had won
    assert found[f"Original · {CELL}"].data.tags["reference"] == reference.key


def test_an_original_that_came_first_gets_its_gaps_from_retrain(database, tmp_path):
    fake = Fake(Store(str(tmp_path / "grid")), small_spec(methods=("retrain", "ft")))
    fake.fill(skip=lambda node: node.kind == "retrain")
    mirror = mirror_of(fake, database)
    for record in list(fake.rows.values()):
        mirror.push(record)
    name = f"Original · {CELL}"
    assert "ag" not in runs(fake, database)[name].data.metrics
    fake.fill()
    for record in fake.rows.values():
        mirror.push(record)
    mirror.close()
    run = runs(fake, database)[name]
    assert run.data.metrics["ag"] > 0
    assert run.data.metrics.keys() >= {f"{figure}_gap" for figure in FIGURES}


def test_a_run_links_to_its_weights_and_says_what_it_is(fake, database):
    mirror = mirror_of(fake, database)
    mirror.sync()
    mirror.close()
    found = runs(fake, database)
    for name, run in found.items():
        tags, row = run.data.tags, fake.rows[run.data.tags["node_key"]]
        link = f"{fake.store.uri}/artifacts/{row.model}/model.safetensors"
        if tags.get("selected") == "false":  # its weights were dropped
            assert "checkpoint" not in tags
            assert "weights" not in tags["mlflow.note.content"]
        else:
            assert tags["checkpoint"] == link
            assert link in tags["mlflow.note.content"]
        assert f"--store {fake.store.uri}" in tags["mlflow.note.content"]
        strong = tags["mlflow.runColor"] == colour_of(tags["method"])
        assert strong == (tags.get("selected") != "false")  # a trial that was not chosen is pale
        told = {
            "dataset": "cifar10",
            "arch": "resnet18",
            "quant": "4w4a",
            "scenario": "random",
            "amount": "0.1",
        }
        told |= {"seed": "1", "forget_count": "4500", "hardware": "NVIDIA H200", "versions": "torch 2.13.0"}
        assert {key: tags[key] for key in told} == told, name


def test_what_a_cell_chose_is_a_registered_model_that_refers_to_the_store(fake, database):
    for _ in range(2):  # the second time adds none
        mirror = mirror_of(fake, database)
        mirror.sync()
        mirror.close()
    client = mlflow.tracking.MlflowClient(database)
    cell = runs(fake, database)[f"Q-MUL · {CELL}"]
    row = fake.rows[cell.data.tags["node_key"]]
    (version,) = client.search_model_versions(f"run_id = '{cell.info.run_id}'")
    assert version.name == "small-cifar10-resnet18-4w4a-random-10-qmul"
    assert version.source == f"file://{fake.store.uri}/artifacts/{row.model}"
    assert (version.tags["node_key"], version.tags["ag"]) == (row.key, f"{row.ag:.4g}")


def test_where_no_version_is_taken_the_model_is_logged_and_where_neither_is_the_run_stays(
    fake, database, monkeypatch
):
    def refuses(*_, **__):
        raise mlflow.MlflowException("Invalid model version source")

    monkeypatch.setattr(mlflow.tracking.MlflowClient, "create_model_version", refuses)
    mirror = mirror_of(fake, database)
    mirror.sync()
    mirror.close()
    client = mlflow.tracking.MlflowClient(database)
    cell = runs(fake, database)[f"Q-MUL · {CELL}"]
    models = client.search_logged_models([cell.info.experiment_id], f"source_run_id = '{cell.info.run_id}'")
    (model,) = models
    assert model.status == "READY"
    assert model.tags["weights"].endswith(fake.rows[cell.data.tags["node_key"]].model)
    monkeypatch.setattr(mlflow.tracking.MlflowClient, "create_logged_model", refuses)
    fresh = Fake(Store(f"{fake.store.uri}-fresh"), fake.spec)
    fresh.fill()
    mirror = mirror_of(fresh, database)
    assert mirror.sync() == 10
    mirror.close()


def test_with_keep_all_every_trial_links_to_its_weights(database, tmp_path):
    fake = Fake(Store(str(tmp_path / "grid")), small_spec(methods=("ft",), keep="all"))
    fake.fill()
    mirror = mirror_of(fake, database)
    mirror.sync()
    mirror.close()
    assert all("checkpoint" in run.data.tags for run in runs(fake, database).values())


def test_a_cell_records_its_images_as_mlflow_does(fake, database):
    mirror = mirror_of(fake, database)
    mirror.sync()
    mirror.close()
    (data,) = (key for key, row in fake.rows.items() if row.kind == "data")
    for name, run in runs(fake, database).items():
        inputs = run.inputs.dataset_inputs
        assert len(inputs) == (0 if " · lr " in name else 1)
        for used in inputs:
            assert (used.dataset.name, used.dataset.digest) == ("cifar10", data[:16])
            counts = {"training_images": 50000, "test_images": 10000, "classes": 10}
            assert json.loads(used.dataset.profile) == counts


def test_a_run_lasts_from_its_first_work_to_its_last(fake, database):
    mirror = mirror_of(fake, database)
    for record in fake.rows.values():
        mirror.push(record)
    mirror.close()
    found = {run.info.run_id: run.info for run in runs(fake, database).values()}
    for run in runs(fake, database).values():
        assert run.info.start_time < run.info.end_time
        parent = run.data.tags.get("mlflow.parentRunId")
        if parent:
            assert found[parent].start_time <= run.info.start_time
            assert run.info.end_time <= found[parent].end_time


def test_runs_that_an_older_mirror_wrote_are_written_anew(fake, database):
    mirror = mirror_of(fake, database)
    mirror.sync()
    mirror.close()
    client = mlflow.tracking.MlflowClient(database)
    before = runs(fake, database)
    old = before[f"Q-MUL · lr 0.01 · {CELL}"].info.run_id
    client.delete_tag(old, "mirror")
    mirror = mirror_of(fake, database)
    assert mirror.sync() == 1
    mirror.close()
    assert facts(runs(fake, database)) == facts(before)


def test_the_experiment_explains_itself_and_has_its_views(fake, database):
    mirror_of(fake, database).close()
    client = mlflow.tracking.MlflowClient(database)
    tags = client.get_experiment_by_name("unlearn-grid/small").tags
    for query in FILTERS:
        assert f"`{query}`" in tags["mlflow.note.content"]
    for name in VIEWS:
        view = json.loads(tags[f"mlflow.sharedViewState.{name}"])
        charts = {chart["metricSectionId"] for chart in view["compareRunCharts"]}
        assert charts == {section["uuid"] for section in view["compareRunSections"]}
        assert set(view["selectedColumns"]) < set(view["columnOrder"])


def test_a_cell_has_the_curve_of_the_trial_that_it_chose(fake, database):
    mirror = mirror_of(fake, database)
    mirror.sync()
    mirror.close()
    run = runs(fake, database)[f"Q-MUL · {CELL}"]
    model = fake.rows[fake.rows[run.data.tags["node_key"]].model]
    for name in ("loss", "w_forget"):
        history = mlflow.tracking.MlflowClient(database).get_metric_history(run.info.run_id, f"epoch/{name}")
        expected = [(f.epoch, f.value) for f in model.curve if f.name == name]
        assert sorted((point.step, point.value) for point in history) == expected


def test_writing_twice_changes_nothing(fake, database):
    mirror = mirror_of(fake, database)
    mirror.sync()
    before = facts(runs(fake, database))
    assert mirror.sync() == 0
    for record in fake.rows.values():
        mirror.push(record)
    mirror.close()
    again = mirror_of(fake, database)
    assert again.sync() == 0
    for record in fake.rows.values():
        again.push(record)
    again.close()
    assert facts(runs(fake, database)) == before


@pytest.mark.parametrize("seed", [1, 2])
def test_the_order_of_pushes_does_not_matter(fake, database, tmp_path, seed):
    mirror = mirror_of(fake, database)
    mirror.sync()
    mirror.close()
    expected = facts(runs(fake, database))
    other = Fake(Store(str(tmp_path / f"other{seed}")), fake.spec)
    other.fill()
    shuffled = list(other.rows.values())
    random.Random(seed).shuffle(shuffled)
    mirror = mirror_of(other, database)
    for record in shuffled:
        mirror.push(record)
    mirror.close()
    found = facts(runs(other, database))
    assert found == expected


def test_a_failed_trial_is_a_failed_run_until_it_succeeds(database, tmp_path):
    fake = Fake(Store(str(tmp_path / "grid")), small_spec(methods=("ft",)))
    bad = {n.key for n in fake.plan.nodes.values() if n.kind == "trial" and n.inputs["tried"] == "lr 0.1"}
    fake.fill(fail=lambda node: node.key in bad)
    mirror = mirror_of(fake, database)
    mirror.sync()
    assert mirror.sync() == 0
    run = runs(fake, database)[f"FT · lr 0.1 · {CELL}"]
    assert run.info.status == "FAILED"
    assert run.data.tags["error_kind"] == "numeric"
    fake.fill()
    for record in fake.rows.values():
        mirror.push(record)
    mirror.close()
    run = runs(fake, database)[f"FT · lr 0.1 · {CELL}"]
    assert run.info.status == "FINISHED"
    assert run.data.tags["error_kind"] == ""
    assert "fa" in run.data.metrics


def test_a_cell_that_chooses_anew_gets_a_new_run_with_its_trials_below(fake, database):
    mirror = mirror_of(fake, database)
    mirror.sync()
    (select,) = (r for r in fake.rows.values() if r.kind == "select" and r.method == "ft")
    other = next(c.evaluation for c in select.candidates if c.evaluation != select.selected)
    changed = select.model_copy(update={"selected": other, "params": fake.rows[other].params, "fa": 50.0})
    mirror.push(Record.model_validate(changed.model_dump()))
    mirror.close()
    found = runs(fake, database)
    cell = found[f"FT · {CELL}"]
    assert cell.data.metrics["fa"] == 50.0
    trials = [run for name, run in found.items() if name.startswith("FT · lr ")]
    assert {run.data.tags["mlflow.parentRunId"] for run in trials} == {cell.info.run_id}
    assert [r.data.tags["node_key"] for r in trials if r.data.tags["selected"] == "true"] == [other]


def test_an_interrupted_run_is_completed(fake, database):
    mirror = mirror_of(fake, database)
    (node,) = (n for n in fake.plan.nodes.values() if n.kind == "select" and n.inputs["method"] == "ft")
    mirror._run(node)  # made, and then the driver was killed
    mirror.close()
    mirror = mirror_of(fake, database)
    assert mirror.sync() == 10
    mirror.close()
    assert runs(fake, database)[f"FT · {CELL}"].info.status == "FINISHED"


def test_the_database_in_a_store_may_move_with_it(tmp_path, capfd, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fake = Fake(Store(str(tmp_path / "grid")), small_spec(methods=("ft",), recipe="moving"))
    fake.fill()
    uri = tracking_uri(fake.spec, fake.store)
    mirror = mirror_of(fake, uri)
    assert (tmp_path / "grid" / "mlflow.db").exists()
    assert mirror.sync() > 0
    mirror.close()
    (tmp_path / "grid").rename(tmp_path / "moved")
    store = Store(str(tmp_path / "moved"))
    moved = Mirror(tracking_uri(fake.spec, store), store, fake.spec, fake.plan)
    assert moved.sync() == 0
    moved.close()
    assert capfd.readouterr() == ("", "")
    assert [path.name for path in tmp_path.iterdir()] == ["moved"]


def test_a_server_that_is_down_costs_seconds_and_one_warning(fake):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    said: list[str] = []
    start = time.monotonic()
    mirror = Mirror(f"http://me:secret@127.0.0.1:{port}", fake.store, fake.spec, fake.plan, said.append)
    for record in fake.rows.values():
        mirror.push(record)
    assert time.monotonic() - start < 15
    (line,) = said
    assert "sync" in line
    assert "secret" not in line
    assert "\n" not in line
    assert mirror.sync() == 0
    assert len(said) == 2
    mirror.close()


def test_a_server_that_goes_away_is_caught_up_with_by_sync(fake, database, monkeypatch):
    said: list[str] = []
    mirror = mirror_of(fake, database, warn=said.append)
    records = list(fake.rows.values())
    for record in records[:6]:
        mirror.push(record)
    monkeypatch.setattr(mirror._tracker, "create", lambda *a: 1 / 0)
    for record in records:
        mirror.push(record)
    assert len(said) == 1
    assert mirror.sync() > 0
    assert mirror.warning is None
    assert len(runs(fake, database)) == 10
    mirror.close()


def test_the_first_use_of_a_data_set_is_made_alone(fake, database, monkeypatch):
    mirror, begun, ended = mirror_of(fake, database), [], []

    def use(run_id, _inputs):
        begun.append(len(ended))
        time.sleep(0.05)
        ended.append(run_id)

    monkeypatch.setattr(mirror._tracker._client, "log_inputs", use)
    data = Data("images", "digest", "{}", "{}")
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: mirror._tracker.use(Run(str(number)), data), range(4)))
    assert begun[0] == 0
    assert min(begun[1:]) >= 1
    mirror.close()


def test_what_two_drivers_wrote_beside_each_other_is_one_run_for_each_node_after_sync(fake, database):
    drivers = mirror_of(fake, database), mirror_of(fake, database)
    for number, record in enumerate(fake.rows.values()):
        drivers[number % 2].push(record)
    for driver in drivers:
        driver.close()
    client = mlflow.tracking.MlflowClient(database)
    (experiment,) = client.search_experiments(filter_string="name = 'unlearn-grid/small'")
    store = f"tags.store = '{fake.store.uri}'"
    assert len(client.search_runs([experiment.experiment_id], store)) > 10
    mirror = mirror_of(fake, database)
    mirror.sync()
    mirror.close()
    other = Fake(Store(f"{fake.store.uri}-of-one"), fake.spec)
    other.fill()
    mirror = mirror_of(other, database)
    mirror.sync()
    mirror.close()
    found, expected = facts(runs(fake, database)), facts(runs(other, database))
    assert found == expected


def test_no_uri_means_no_mirror(fake):
    mirror = Mirror(None, fake.store, fake.spec, fake.plan)
    mirror.push(next(iter(fake.rows.values())))
    assert mirror.sync() == 0
    mirror.close()


def test_where_tracking_goes(tmp_path, monkeypatch):
    local, remote = Store(str(tmp_path)), Store("memory://x")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert tracking_uri(small_spec(), local) == f"sqlite:///{tmp_path}/mlflow.db"
    assert tracking_uri(small_spec(), remote) is None
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://server")
    assert tracking_uri(small_spec(), local) == "http://server"
    assert tracking_uri(small_spec(tracking={"uri": "http://mine"}), local) == "http://mine"


def test_several_seeds_are_told_apart(database, tmp_path):
    fake = Fake(
        Store(str(tmp_path / "grid")), small_spec(methods=("ft",), seeds=(1, 2), ratios=(), classes=(3,))
    )
    fake.fill()
    mirror = mirror_of(fake, database)
    assert mirror.sync() == 2 * (2 + 1 + 3)
    mirror.close()
    assert "FT · lr 0.01 · seed 2 · cifar10 · resnet18 4w4a · class 3" in runs(fake, database)


def test_a_variant_is_a_run_under_its_label(database, tmp_path):
    label = "qmul:norm=dataset:order=sequential"
    fake = Fake(Store(str(tmp_path / "grid")), small_spec(methods=("qmul", label)))
    fake.fill()
    mirror = mirror_of(fake, database)
    assert mirror.sync() == 2 + 2 * (1 + 3)
    mirror.close()
    found = runs(fake, database)
    named = "Q-MUL (norm dataset, order sequential)"
    cell, trial = found[f"{named} · {CELL}"], found[f"{named} · lr 0.01 · {CELL}"]
    assert cell.data.tags["method"] == cell.data.params["method"] == label
    assert trial.data.tags["mlflow.parentRunId"] == cell.info.run_id
    assert trial.data.params["order"] == "sequential"
    client = mlflow.tracking.MlflowClient(database)
    query = f"tags.method = '{label}' and tags.kind = 'cell' and tags.store = '{fake.store.uri}'"
    (hit,) = client.search_runs([cell.info.experiment_id], query)
    assert hit.info.run_id == cell.info.run_id


def test_environment_that_is_set_wins():
    assert os.environ.get("MLFLOW_DISABLE_TELEMETRY") == "true"
    assert not Path("mlruns").exists()


def at_work(node, epoch, **facts):
    """What a node at work says."""
    now = time.time()
    return Running(key=node.key, node=node.words, host="here", pid=7, begun=now - 60, told=now, idle=0, epoch=epoch,
                   epochs=10, facts=facts)  # fmt: skip


def test_a_training_at_work_is_a_running_run_with_its_loss_so_far(fake, database):
    trial = next(node for node in fake.plan.nodes.values() if node.kind == "trial")
    evaluated = next(node for node in fake.plan.nodes.values() if node.parents[:1] == (trial.key,))
    mirror = mirror_of(fake, database)
    mirror.tell(trial, at_work(trial, 1, loss=2.5, retain_accuracy=40.0))
    mirror.tell(trial, at_work(trial, 2, loss=1.5, retain_accuracy=60.0))
    client = mlflow.tracking.MlflowClient(database)
    run = client.get_run(mirror._tracker.runs[evaluated.key].id)
    assert run.info.status == "RUNNING"
    assert [m.value for m in client.get_metric_history(run.info.run_id, "epoch/loss")] == [2.5, 1.5]
    assert run.data.metrics["epoch/retain_accuracy"] == 60.0
    mirror.push(fake.rows[trial.key])
    mirror.push(fake.rows[evaluated.key])
    mirror.close()
    assert client.get_run(run.info.run_id).info.status == "FINISHED"
    steps = [m.step for m in client.get_metric_history(run.info.run_id, "epoch/loss")]
    assert len(steps) == len(set(steps))


def test_a_training_that_is_at_work_no_longer_does_not_seem_to_be(fake, database):
    trial = next(node for node in fake.plan.nodes.values() if node.kind == "trial")
    mirror = mirror_of(fake, database)
    mirror.tell(trial, at_work(trial, 1, loss=2.5))
    (run,) = (run for key, run in mirror._tracker.runs.items() if fake.plan.nodes[key].kind == "evaluate")
    mirror.close()
    client = mlflow.tracking.MlflowClient(database)
    assert client.get_run(run.id).info.status == "KILLED"
    later = mirror_of(fake, database)
    for record in fake.rows.values():
        later.push(record)
    later.close()
    assert client.get_run(run.id).info.status == "FINISHED"


def test_figures_are_rounded_for_tables_that_show_every_digit(fake, database):
    mirror = mirror_of(fake, database)
    mirror.sync()
    mirror.close()
    for run in runs(fake, database).values():
        figures = {name: run.data.metrics[name] for name in FIGURES}
        assert all(len(f"{value!r}".replace(".", "").strip("0")) <= 5 for value in figures.values())
