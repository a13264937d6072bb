"""MLflow as the mirror needs it: runs by node key, each filled in one batch; quiet, and quick to fail."""

import logging
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, NamedTuple

from orchestrator.tracking.registry import log_model, register
from orchestrator.tracking.run_values import Point

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

BATCH = 900  # metrics in one call; MLflow takes 1,000
PAGE = 200  # runs read in one call: a server takes 6 ms for each, and may be busy
LANES = 8  # runs written to a server at a time: of a call's 55 ms to one with several workers, 45 are waiting
PARENT = "mlflow.parentRunId"
RESCORED = "rescored"  # the tag that names the metrics which scores added to a finished run
LAYOUT = {"mirror": "5"}  # the tag of runs as this code writes them; others are written anew

# A server that is down must cost seconds; nothing calls home; no address is printed into the progress display.
_DEFAULTS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "8",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
}


@dataclass
class Run:
    """A run in MLflow.

    chosen: for a cell, the evaluation its figures are of. failure: the message it ended with. parent: the id of
    a trial's cell. selected: for a trial, "true" or "false" once its cell has chosen. reference: for an original
    or Retrain, the evaluation that its gaps are to. rescored: metrics that were added after it had finished.
    """

    id: str
    finished: bool = False
    chosen: str = ""
    failure: str | None = None
    parent: str | None = None
    selected: str | None = None
    reference: str | None = None
    rescored: frozenset[str] = frozenset()


class Data(NamedTuple):
    """A data set as MLflow knows one; digest: at most 36 characters. source, profile: JSON."""

    name: str
    digest: str
    source: str
    profile: str


class Tracker:
    """An experiment on an MLflow server or in a database, made if there is none, and its runs by node key.

    artifacts: where a new experiment keeps files, None for the server's own place. only: a filter on runs.
    about: the experiment's own tags. lanes: how many threads may call it at once. files: whether runs may have
    any: without a server only where `artifacts` says, and not in an experiment that was moved away from there.
    """

    def __init__(
        self, uri: str, experiment: str, artifacts: str | None, only: str, about: Mapping[str, str]
    ) -> None:
        self._client = _client(uri)
        found = self._client.get_experiment_by_name(experiment)
        if found is None:
            made = self._client.create_experiment(experiment, artifact_location=artifacts, tags=dict(about))
            found = self._client.get_experiment(made)
        self._experiment: str = found.experiment_id
        self.files = is_server(uri) or found.artifact_location == artifacts
        for name, value in about.items():
            if found.tags.get(name) != value:
                self._client.set_experiment_tag(self._experiment, name, value)
        # nothing to wait for on the way to a database, and one in a file lets one writer in at a time
        self.lanes = LANES if is_server(uri) else 1
        self.runs: dict[str, Run] = {}
        self._registers = self._logs = True  # models, until MLflow refuses one
        self._used: set[Data] = set()
        self._first_use = Lock()
        self._adopt(only)

    def _adopt(self, only: str) -> None:
        """Takes over the runs that exist, and of several with one key keeps one.

        Two drivers of a store leave such runs, and a call that was made twice because its answer was lost. Runs
        that an older revision of the mirror wrote go: `sync` writes them as they are now.
        """
        found: dict[str, list[Run]] = {}
        for key, run, current in self._existing(only):
            if current:
                found.setdefault(key, []).append(run)
            else:
                self._client.delete_run(run.id)
        for key, runs in found.items():
            self.runs[key], *doubles = sorted(runs, key=lambda run: not run.finished)
            for double in doubles:
                self._client.delete_run(double.id)

    def _existing(self, only: str) -> Iterator[tuple[str, Run, bool]]:
        token: str | None = None
        while True:
            page = self._client.search_runs([self._experiment], only, max_results=PAGE, page_token=token)
            for run in page:
                tags, status = run.data.tags, run.info.status
                failure = tags.get("error_message", "") if status == "FAILED" else None
                known = Run(
                    run.info.run_id,
                    status == "FINISHED",
                    tags.get("chosen", ""),
                    failure,
                    tags.get(PARENT),
                    tags.get("selected"),
                    tags.get("reference"),
                    frozenset(tags.get(RESCORED, "").split()),
                )
                if "node_key" in tags:
                    yield tags["node_key"], known, tags.items() >= LAYOUT.items()
            token = page.token
            if not token:
                return

    def create(self, key: str, name: str, tags: Mapping[str, str], start: int | None) -> Run:
        """A new run for a node."""
        made = self._client.create_run(
            self._experiment, start_time=start, tags={**tags, **LAYOUT, "node_key": key}, run_name=name
        )
        self.runs[key] = Run(made.info.run_id, parent=tags.get(PARENT))
        return self.runs[key]

    def log(
        self,
        run: Run,
        points: list[Point],
        params: Mapping[str, str],
        tags: Mapping[str, str],
        time: int | None,
    ) -> None:
        """All of it in one call. The same points with the same time again add nothing."""
        from mlflow.entities import Metric, Param, RunTag

        metrics = [Metric(name, value, time or 0, step) for name, value, step in points]
        rest = {
            "params": [Param(name, value) for name, value in params.items()],
            "tags": [RunTag(name, value) for name, value in tags.items()],
        }
        for at in range(0, max(len(metrics), 1), BATCH):
            self._client.log_batch(run.id, metrics=metrics[at : at + BATCH], **({} if at else rest))
        run.parent, run.selected = tags.get(PARENT, run.parent), tags.get("selected", run.selected)
        run.reference = tags.get("reference", run.reference)
        run.rescored |= frozenset(tags.get(RESCORED, "").split())

    def use(self, run: Run, data: "Data") -> None:
        """Records what a run was computed from; a second time changes nothing.

        A data set's first use is made alone: MLflow looks for it and adds it in two steps, and of two calls at once
        that both find nothing one fails.
        """
        from mlflow.entities import Dataset, DatasetInput, InputTag

        entity = Dataset(data.name, data.digest, "local", data.source, profile=data.profile)
        inputs = [DatasetInput(entity, [InputTag("mlflow.data.context", "training")])]
        with nullcontext() if data in self._used else self._first_use:
            self._client.log_inputs(run.id, inputs)
        self._used.add(data)

    def attach(self, run: Run, files: Mapping[str, str]) -> None:
        """Adds text files to a run, in the place of those of the same name."""
        for name, text in files.items():
            self._client.log_text(run.id, text, name)

    def keep_model(self, run: Run, name: str, source: str, tags: Mapping[str, str]) -> None:
        """Registers what a run chose, else logs it as the run's model; by reference, and not where neither can be."""
        said = {**tags, "weights": source}
        if self._registers and not register(self._client, run.id, name, source, said):
            self._registers = False
        if not self._registers and self._logs:
            self._logs = log_model(self._client, self._experiment, run.id, name, said)

    def end(self, run: Run, failure: str | None, time: int | None) -> None:
        """Marks a run finished or failed."""
        self._client.set_terminated(run.id, "FINISHED" if failure is None else "FAILED", end_time=time)
        run.finished, run.failure = failure is None, failure

    def stop(self, run: Run) -> None:
        """Marks a run that nobody works on for now."""
        self._client.set_terminated(run.id, "KILLED")

    def delete(self, key: str) -> None:
        """Removes a node's run."""
        self._client.delete_run(self.runs.pop(key).id)

    def close(self) -> None:
        """Lets go of a database; MLflow has no public way."""
        store = getattr(getattr(self._client, "_tracking_client", None), "store", None)
        engine = getattr(store, "engine", None)
        if engine is not None:
            engine.dispose()


def is_server(uri: str) -> bool:
    """Whether MLflow is behind HTTP, and not a database that is written to directly."""
    return uri.startswith(("http://", "https://"))


class Cells(NamedTuple):
    """An experiment's id, and its cells' runs: id and tags."""

    experiment: str
    runs: list[tuple[str, dict[str, str]]]


def cells(uri: str, experiment: str) -> Cells | None:
    """The finished cells of an experiment; None if there is no such experiment."""
    client = _client(uri)
    found = client.get_experiment_by_name(experiment)
    if found is None:
        return None
    query, runs, token = "tags.kind = 'cell' and attributes.status = 'FINISHED'", [], None
    while True:
        page = client.search_runs([found.experiment_id], query, max_results=PAGE, page_token=token)
        runs += [(run.info.run_id, dict(run.data.tags)) for run in page]
        token = page.token
        if not token:
            return Cells(found.experiment_id, runs)


def _client(uri: str) -> "MlflowClient":
    for name, value in _DEFAULTS.items():
        os.environ.setdefault(name, value)
    from mlflow.tracking import MlflowClient

    for name in ("mlflow", "alembic", "urllib3.connectionpool"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # after the import, which sets levels itself
    return MlflowClient(uri)


@contextmanager
def quiet() -> Iterator[None]:
    """Deprecations inside MLflow and SQLAlchemy are not the user's."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
