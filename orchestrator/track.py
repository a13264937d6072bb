"""The MLflow mirror: a projection of the store's rows, written by the driver alone. Parquet stays the truth."""

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from orchestrator import track_values as values
from orchestrator.plan import Cell, Plan
from orchestrator.spec import GridSpec
from orchestrator.store import read_rows
from orchestrator.track_client import PARENT, Run, Tracker, quiet
from tasks.node import Node
from tasks.record import Candidate, Record
from tasks.store import Corrupt, Store
from tasks.uri import public

DATABASE = "mlflow.db"


def tracking_uri(spec: GridSpec, store: Store) -> str | None:
    """The grid's server, else the environment's, else a SQLite file in a local store, else None."""
    given = spec.tracking.uri or os.environ.get("MLFLOW_TRACKING_URI")
    if given or not store.local:
        return given or None
    return f"sqlite:///{store.path(DATABASE)}"


class Mirror:
    """Writes a grid's rows to MLflow: a run for each cell, below it one for each trial.

    Nothing here raises: the first failure calls `warn` with one line, is kept in `warning`, and stops the
    mirror until `sync`. Used by one thread of the driver; `sync` writes to a server in several.
    """

    def __init__(
        self,
        uri: str | None,
        store: Store,
        spec: GridSpec,
        plan: Plan,
        warn: Callable[[str], None] | None = None,
    ) -> None:
        self.uri, self.store, self.spec, self.plan = uri, store, spec, plan
        self.warning: str | None = None
        self._warn = warn
        self._tracker: Tracker | None = None
        self._written: list[str] = []
        self._verdicts: dict[
            str, tuple[Candidate, bool]
        ] = {}  # by evaluation: its gaps, and if it was chosen
        self._rows: dict[str, Record] = {}  # while syncing
        if uri is not None:
            self._guarded(self._open)

    def push(self, record: Record) -> None:
        """Mirrors one finished or failed node, in any order; a second time changes nothing."""
        if self._tracker is not None:
            self._guarded(lambda: self._write(record))

    def sync(self) -> int:
        """Writes every row of the store that MLflow lacks; returns the number of runs written."""
        self._written, self.warning = [], None
        if self.uri is not None:
            self._guarded(self._sync)
        return len(self._written)

    def close(self) -> None:
        """Lets go of the database or server."""
        if self._tracker is not None:
            self._tracker.close()
        self._tracker = None

    def _guarded(self, work: Callable[[], object]) -> None:
        try:
            with quiet():
                work()
        except Exception as error:
            self.close()
            uri = str(self.uri)
            self.warning = (
                f"MLflow at {public(uri)} failed ({_reason(error, uri)}); the results are safe, and"
                f" `python -m orchestrator.grid sync --store {self.store.uri}` mirrors them later"
            )
            if self._warn is not None:
                self._warn(self.warning)

    def _open(self) -> Tracker:
        """MLflow; on first use makes database and experiment if need be, and reads which runs exist."""
        if self._tracker is None:
            uri, name = str(self.uri), f"unlearn-grid/{self.spec.recipe}"
            if self.store.local and uri.endswith(self.store.path(DATABASE)):
                # The database in the store holds this store's runs alone, wherever both are moved.
                artifacts = Path(self.store.path("mlartifacts")).as_uri()
                self._tracker = Tracker(uri, name, artifacts, only="")
            else:
                quote = '"' if "'" in self.store.uri else "'"
                self._tracker = Tracker(uri, name, None, f"tags.store = {quote}{self.store.uri}{quote}")
        return self._tracker

    def _sync(self) -> None:
        tracker = self._open()
        rows, _ = read_rows(self.store, self.plan.nodes.keys())
        self._rows = {row["key"]: Record.model_validate(row) for row in rows}
        cells: dict[str, list[tuple[Node, Record]]] = {}
        # Selections first: a trial's run is then written with its gaps at once.
        for record in sorted(self._rows.values(), key=lambda r: (r.status != "done", r.kind != "select")):
            for node in self._affected(record):
                cells.setdefault((self._cell(node) or node).key, []).append((node, record))
        try:
            self._write_cells(cells.values(), tracker.lanes)
        finally:
            self._rows = {}

    def _write_cells(self, cells: Iterable[list[tuple[Node, Record]]], lanes: int) -> None:
        """Cells beside each other, each in its order: no run of one is below a run of another."""

        def write(cell: list[tuple[Node, Record]]) -> None:
            for node, record in cell:
                self._put(node, record)

        with ThreadPoolExecutor(lanes, "mirror") as pool:
            try:
                for done in as_completed([pool.submit(write, cell) for cell in cells]):
                    done.result()
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise

    def _write(self, record: Record) -> None:
        for node in self._affected(record):
            self._put(node, record)

    def _affected(self, record: Record) -> list[Node]:
        """The nodes whose runs a row says something about: a failed model ends what would have evaluated it."""
        node = self.plan.nodes.get(record.key)
        if node is None:
            return []
        found = [node] if record.status == "done" else self._evaluations(node) or [node]
        return [affected for affected in found if affected.kind in ("evaluate", "select")]

    def _put(self, node: Node, record: Record) -> None:
        if node.kind == "select" and record.status == "done":
            self._select(node, record)
        else:
            self._finish(node, record)

    def _select(self, node: Node, record: Record) -> None:
        """A cell's figures, and to each of its trials how it fared."""
        tracker, candidates = self._open(), record.candidates or []
        self._verdicts.update({c.evaluation: (c, c.evaluation == record.selected) for c in candidates})
        known = tracker.runs.get(node.key)
        if known and known.finished and known.chosen != record.selected:
            # Trials were repeated and another one won. Parameters of a run cannot change: it gets a new one.
            tracker.delete(node.key)
        cell = self._run(node, record)
        for evaluation in (c.evaluation for c in candidates if c.evaluation in tracker.runs):
            trial, (gaps, tags) = tracker.runs[evaluation], self._verdict(evaluation)
            if (trial.selected, trial.parent) != (tags["selected"], cell.id):
                tags |= {PARENT: cell.id}
                tracker.log(trial, values.points(gaps), {}, tags, values.milliseconds(record))
        cell.chosen = record.selected or ""
        self._finish(node, record)

    def _finish(self, node: Node, record: Record) -> None:
        """All of a run in one batch. A failed run may finish later; a finished one is left alone."""
        tracker = self._open()
        failure = None if record.status == "done" else values.failure(record)
        known = tracker.runs.get(node.key)
        if known and (known.finished or (failure is not None and known.failure == failure)):
            return
        model = self._model(record)
        run = self._run(node, model or record)
        gaps, tags = self._verdict(node.key)
        tags |= values.tags(record, clear=run.failure is not None)
        tags |= {"chosen": run.chosen} if run.chosen else {}
        params = values.parameters(node, record) if failure is None else {}
        points = values.points(values.metrics(record) | gaps) + values.curve(model)
        tracker.log(run, points, params, tags, values.milliseconds(record))
        tracker.end(run, failure, values.milliseconds(record))
        self._written.append(node.key)

    def _run(self, node: Node, start: Record | None = None) -> Run:
        """The run of an evaluation or selection, made if there is none, below its cell's run."""
        tracker = self._open()
        if node.key in tracker.runs:
            return tracker.runs[node.key]
        cell = self._cell(node)
        tags = values.coordinates(node) | {
            "kind": "trial" if cell else "cell",
            "recipe": self.spec.recipe,
            "store": self.store.uri,
            "mlflow.source.name": "orchestrator.grid",
        }
        if cell:
            tags[PARENT] = self._run(cell).id
        began = values.milliseconds(start, start.node_seconds or 0) if start else None
        return tracker.create(node.key, values.run_name(self.spec, node), tags, began)

    def _evaluations(self, model: Node) -> list[Node]:
        """What evaluates a model; searches add to the plan while they run."""
        nodes = list(self.plan.nodes.values())
        return [n for n in nodes if n.kind == "evaluate" and n.parents[0] == model.key]

    def _cell(self, node: Node) -> Node | None:
        """The selection of a trial's cell, from the trial's evaluation; None for what is no trial."""
        if node.kind != "evaluate":
            return None
        holder = self.plan.cells.get(Cell(*(node.inputs[axis] for axis in Cell._fields)))
        return self.plan.nodes[holder] if holder and self.plan.nodes[holder].kind == "select" else None

    def _verdict(self, evaluation: str) -> tuple[dict[str, float], dict[str, str]]:
        """A trial's gaps as metrics and whether it was selected as a tag; empty before its cell's selection."""
        if evaluation not in self._verdicts:
            return {}, {}
        candidate, chosen = self._verdicts[evaluation]
        gaps = {"ag": candidate.ag, "ag_validation": candidate.ag_validation}
        return gaps, {"selected": str(chosen).lower()}

    def _model(self, evaluation: Record) -> Record | None:
        """The row of the model that an evaluation looked at, for its curve."""
        if evaluation.kind != "evaluate" or evaluation.model is None:
            return None
        if evaluation.model in self._rows:
            return self._rows[evaluation.model]
        try:
            return self.store.manifest(evaluation.model).record
        except Corrupt:
            return None


def _reason(error: Exception, uri: str) -> str:
    """What went wrong, in a few words and without the password that MLflow repeats."""
    if isinstance(error, ImportError):
        return "mlflow is not installed"
    text = str(error).replace(uri, public(uri))
    if "Max retries exceeded" in text or "timed out" in text:
        return "no answer"
    return f"{text.splitlines()[0]:.160}" if text.strip() else type(error).__name__
