"""The full grid on an MLflow server over PostgreSQL: every run once, also when the server dies half-way."""

import os
import random
import signal
import time
from collections import Counter
from functools import partial

import pytest

from core.metrics.gap import FIGURES
from orchestrator.spec import recipes
from orchestrator.tracking.mirror import Mirror
from tasks.store.store import Store
from tests.chaos.tracker_faults import free_port, server
from tests.orchestrator import postgres
from tests.orchestrator.fake_results import Fake

pytest.importorskip("psycopg2", reason="psycopg2 is not installed")
mlflow = pytest.importorskip("mlflow", reason="mlflow is not installed")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
PARENT = "mlflow.parentRunId"


@pytest.fixture(scope="module")
def database(private_surroundings):
    binaries = postgres.programs()
    if binaries is None:
        pytest.skip("needs PostgreSQL: apt-get install postgresql")
    with postgres.database(binaries) as uri:
        yield uri


def filled(folder, **changes):
    """A store with every row of the paper's grid, 8 trials in each cell."""
    fake = Fake(Store(str(folder)), recipes.full().model_copy(update=changes))
    fake.fill()
    return fake


def mirror_of(fake, uri):
    mirror = Mirror(uri, fake.store, fake.spec, fake.plan)
    assert mirror.warning is None
    return mirror


def timed_sync(mirror):
    began = time.monotonic()
    written = mirror.sync()
    return written, time.monotonic() - began


def runs(fake, uri):
    """This store's runs by node key, each there once."""
    client = mlflow.tracking.MlflowClient(uri)
    experiment = client.get_experiment_by_name("unlearn-grid/full")
    page = partial(
        client.search_runs, [experiment.experiment_id], f"tags.store = '{fake.store.uri}'", max_results=200
    )
    found = list(read := page())
    while read.token:
        found += (read := page(page_token=read.token))
    counts = Counter(run.data.tags["node_key"] for run in found)
    assert set(counts.values()) == {1}
    return {run.data.tags["node_key"]: run for run in found}


def check_complete(fake, found):
    """A run for each evaluation and selection, every trial's below its cell's."""
    nodes = [node for node in fake.plan.nodes.values() if node.kind in ("evaluate", "select")]
    assert found.keys() == {node.key for node in nodes}
    assert {run.info.status for run in found.values()} == {"FINISHED"}
    parents = {
        trial: found[node.key].info.run_id
        for node in nodes
        if node.kind == "select"
        for trial in node.parents[1:]
    }
    assert {key: run.data.tags.get(PARENT) for key, run in found.items()} == {
        node.key: parents.get(node.key) for node in nodes
    }


def check_figures(fake, found, uri):
    """Some runs say what their rows say, and have the curve of their model."""
    client = mlflow.tracking.MlflowClient(uri)
    for key in random.Random(0).sample(sorted(found), 20):
        row, run = fake.rows[key], found[key]
        told = {name: run.data.metrics[name] for name in FIGURES}
        assert told == pytest.approx({name: getattr(row, name) for name in FIGURES}, rel=1e-4)
        told = {name: run.data.params[name] for name in ("dataset", "arch", "method", "amount")}
        assert told == {name: str(getattr(row, name)) for name in told}
        assert run.info.end_time == int(row.finished_at.timestamp() * 1000)
        if row.kind == "evaluate":
            history = client.get_metric_history(run.info.run_id, "epoch/loss")
            curve = [(fact.epoch, fact.value) for fact in fake.rows[row.model].curve if fact.name == "loss"]
            assert sorted((point.step, point.value) for point in history) == curve


def test_the_full_grid_is_mirrored_once_and_completely(database, tmp_path):
    fake, port = filled(tmp_path / "grid"), free_port()
    uri = f"http://127.0.0.1:{port}"
    with server(tmp_path, port, database, workers=2):
        mirror = mirror_of(fake, uri)
        written, seconds = timed_sync(mirror)
        print(f"{written} runs in {seconds:.0f} s, {1000 * seconds / written:.0f} ms each")
        assert written == 1560
        found = runs(fake, uri)
        check_complete(fake, found)
        check_figures(fake, found, uri)
        assert timed_sync(mirror) == (0, pytest.approx(0, abs=seconds / 4))
        mirror.close()
        another = mirror_of(fake, uri)
        assert another.sync() == 0
        another.close()
        assert {key: run.info.run_id for key, run in runs(fake, uri).items()} == {
            key: run.info.run_id for key, run in found.items()
        }


def test_a_server_that_dies_in_the_middle_of_a_sync_leaves_nothing_double(database, tmp_path, monkeypatch):
    fake, port = filled(tmp_path / "grid", datasets=("cifar10",)), free_port()
    uri = f"http://127.0.0.1:{port}"
    with server(tmp_path, port, database, workers=2) as process:
        mirror = mirror_of(fake, uri)
        end, ended = mirror._tracker.end, []

        def end_and_kill(*arguments):
            end(*arguments)
            ended.append(arguments)
            if len(ended) == 120:
                os.killpg(process.pid, signal.SIGKILL)

        monkeypatch.setattr(mirror._tracker, "end", end_and_kill)
        written = mirror.sync()
        assert 100 < written < 150
        assert "the results are safe" in mirror.warning
    with server(tmp_path, port, database, workers=2):
        rest = mirror.sync()
        assert mirror.warning is None
        assert written + rest >= 390
        check_complete(fake, runs(fake, uri))
        assert mirror.sync() == 0
        mirror.close()
