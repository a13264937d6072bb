"""The MLflow mirror: a projection of the store's rows, written by the driver alone. Parquet stays the truth."""

import os
from collections.abc import Callable, Iterable, Set
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from core.metrics import FIGURES, METRICS
from orchestrator.plan import Cell, Plan
from orchestrator.results import measured_rows, record_of
from orchestrator.spec import GridSpec, colour_of
from orchestrator.tracking import run_values
from orchestrator.tracking.artifacts import cell_files
from orchestrator.tracking.client import PARENT, RESCORED, Run, Tracker, is_server, quiet
from orchestrator.tracking.notes import NOTE, data_entity, run_note
from orchestrator.tracking.registry import model_name, source_of
from orchestrator.tracking.rows import Rows, cell_of, data_of, evaluations, problem_of, references
from orchestrator.tracking.views import about
from tasks import Node, Record
from tasks.store import Running, Store, public

DATABASE = "mlflow.db"
Verdict = tuple[dict[str, float], dict[str, str]]  # gaps as metrics, and tags


def tracking_uri(spec: GridSpec, store: Store) -> str | None:
    """The grid's server, else the environment's, else a SQLite file in a local store, else None."""
    given = spec.tracking.uri or os.environ.get("MLFLOW_TRACKING_URI")
    if given or not store.local:
        return given or None
    return f"sqlite:///{store.path(DATABASE)}"


def experiment_name(spec: GridSpec) -> str:
    """One experiment for each grid."""
    return f"unlearn-grid/{spec.recipe}"


class Mirror:
    """Writes a grid's rows to MLflow: a run for each cell, below it one for each trial.

    Nothing here raises: the first failure calls `warn` with one line, is kept in `warning`, and stops the
    mirror until `sync`; one of a run's files stops files alone. Used by one thread of the driver; `sync` writes
    to a server in several.
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
        self._verdicts: dict[str, Verdict] = {}  # by a trial's evaluation, once its cell has chosen
        self._rescored: dict[str, Set[str]] = {}  # what scores have added to a row, as `sync` finds it
        self._rows, self._references = Rows(store), references(plan)
        self._live: dict[str, set[tuple[str, int]]] = {}  # points told before the end, by evaluation
        if uri is not None:
            self._guarded(self._open)

    def push(self, record: Record) -> None:
        """Mirrors one finished or failed node, in any order; a second time changes nothing."""
        if self._tracker is not None:
            self._rows.add(record)
            self._guarded(lambda: self._write(record))

    def tell(self, node: Node, told: Running) -> None:
        """Shows the last epoch of a training at work, in the runs of what will evaluate it."""
        if self._tracker is not None:
            self._guarded(lambda: self._tell(node, told))

    def sync(self) -> int:
        """Writes every row of the store that MLflow lacks; returns the number of runs written."""
        self._written, self.warning = [], None
        if self.uri is not None:
            self._guarded(self._sync)
        return len(self._written)

    def close(self) -> None:
        """Lets go of the database or server; what was at work is no longer."""
        if self._tracker is not None and self._live:
            live, self._live = self._live, {}
            self._guarded(lambda: self._stop(live))
        if self._tracker is not None:
            self._tracker.close()
        self._tracker = None

    def _guarded(self, work: Callable[[], object]) -> None:
        try:
            with quiet():
                work()
        except Exception as error:
            self._live.clear()
            self.close()
            uri = str(self.uri)
            self._say(
                f"MLflow at {public(uri)} failed ({_reason(error, uri)}); the results are safe, and"
                f" `python -m orchestrator.grid sync --store {self.store.uri}` mirrors them later"
            )

    def _say(self, line: str) -> None:
        self.warning = line
        if self._warn is not None:
            self._warn(line)

    def _open(self) -> Tracker:
        """MLflow; on first use makes database and experiment if need be, and reads which runs exist."""
        if self._tracker is None:
            uri, name, tags = str(self.uri), experiment_name(self.spec), about(self.spec)
            quote = '"' if "'" in self.store.uri else "'"
            only = f"tags.store = {quote}{self.store.uri}{quote}"
            if self.store.local and uri.endswith(self.store.path(DATABASE)):
                only = ""  # that database holds this store's runs alone, wherever both are moved
            local = self.store.local and not is_server(uri)  # a server has its own place for files
            files = Path(self.store.path("mlartifacts")).absolute().as_uri() if local else None
            self._tracker = Tracker(uri, name, files, only, tags)
        return self._tracker

    def _tell(self, node: Node, told: Running) -> None:
        tracker, now = self._open(), int(1000 * told.told)
        for evaluation in evaluations(self.plan, node):
            run = self._run(evaluation, began=int(1000 * told.begun))
            points = [(f"epoch/{name}", value, told.epoch - 1) for name, value in told.facts.items()]
            known = self._live.setdefault(evaluation.key, set())
            if not run.finished:
                tracker.log(run, [p for p in points if (p[0], p[2]) not in known], {}, {}, now)
            known |= {(name, step) for name, _, step in points}

    def _stop(self, live: Iterable[str]) -> None:
        """Runs that were shown at work and have not ended."""
        for key in live:
            run = self._open().runs.get(key)
            if run is not None and not run.finished and run.failure is None:
                self._open().stop(run)

    def _sync(self) -> None:
        tracker = self._open()
        rows, _ = measured_rows(self.store, self.plan.nodes.keys())
        records = {row["key"]: record_of(row) for row in rows}
        self._rescored = {row["key"]: METRICS.keys() & row["rescored"] for row in rows}
        cells: dict[str, list[tuple[Node, Record]]] = {}
        # Selections first: a trial's run is then written with its gaps at once.
        for record in sorted(records.values(), key=lambda r: (r.status != "done", r.kind != "select")):
            for node in self._affected(record):
                cells.setdefault((cell_of(self.plan, node) or node).key, []).append((node, record))
        self._rows.hold(records)
        try:
            self._write_cells(cells.values(), tracker.lanes)
            for record in records.values():
                self._add_beside(record)
        finally:
            self._rows.release()

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

    def _add_beside(self, record: Record) -> None:
        """An audit's scores and floors, or an exported network's figures, as metrics of its cell's run.

        A second time adds nothing.
        """
        node = self.plan.nodes.get(record.key)
        told = run_values.beside(record)
        if node is None or record.status != "done" or not told:
            return
        cell = node.parents[0]
        key = cell if cell in self.plan.cells.values() else self.plan.originals.get(problem_of(node), "")
        run = self._open().runs.get(key)
        if run is not None:
            self._open().log(run, run_values.points(told), {}, {}, run_values.milliseconds(record))

    def _write(self, record: Record) -> None:
        self._add_beside(record)
        for node in self._affected(record):
            self._put(node, record)

    def _affected(self, record: Record) -> list[Node]:
        """The nodes whose runs a row says something about: a failed model ends what would have evaluated it."""
        node = self.plan.nodes.get(record.key)
        if node is None:
            return []
        found = [node] if record.status == "done" else evaluations(self.plan, node) or [node]
        return [affected for affected in found if affected.kind in ("evaluate", "select")]

    def _put(self, node: Node, record: Record) -> None:
        if node.kind == "select" and record.status == "done":
            self._select(node, record)
        else:
            self._finish(node, record)
            if node.key in self._references.values() and record.status == "done":
                self._judge_original(node, record)

    def _select(self, node: Node, record: Record) -> None:
        """A cell's figures, and to each of its trials how it fared."""
        tracker, candidates = self._open(), record.candidates or []
        reference = self._rows.find(record.reference)
        for c in candidates:
            chosen, trial = c.evaluation == record.selected, self._rows.find(c.evaluation)
            found = run_values.gaps(trial, reference) if trial else {}
            kept = trial.model if trial and (chosen or self.spec.keep == "all") else None
            tags = {"selected": str(chosen).lower()} | run_values.checkpoint(self.store.uri, kept)
            tags |= run_values.trial_colour(node.inputs["method"], chosen=chosen)
            gaps = found | {"ag": c.ag, "ag_validation": c.ag_validation}
            note = run_note(self.spec, self.plan.nodes[c.evaluation], self.store.uri, tags.get("checkpoint"))
            self._verdicts[c.evaluation] = gaps, tags | {NOTE: note}
        known = tracker.runs.get(node.key)
        if known and known.finished and known.chosen != record.selected:
            # Trials were repeated and another one won. Parameters of a run cannot change: it gets a new one.
            tracker.delete(node.key)
        cell = self._run(node, self._first(record))
        for evaluation in (c.evaluation for c in candidates if c.evaluation in tracker.runs):
            run, (gaps, tags) = tracker.runs[evaluation], self._verdicts[evaluation]
            if (run.selected, run.parent) != (tags["selected"], cell.id):
                tags = tags | {PARENT: cell.id}
                tracker.log(run, run_values.points(gaps), {}, tags, run_values.milliseconds(record))
        cell.chosen = record.selected or ""
        self._finish(node, record)

    def _first(self, cell: Record) -> Record:
        """The row of the trial with which a cell's work began."""
        trials = [self._rows.find(c.evaluation) for c in cell.candidates or ()]
        models = [self._rows.find(trial.model) for trial in trials if trial]
        begun = [m for m in models if m and m.finished_at]
        return min(begun, key=run_values.began, default=cell)

    def _judge_original(self, retrain: Node, record: Record) -> None:
        """The original's gaps, if its run was there before Retrain was measured."""
        key = self.plan.originals.get(problem_of(retrain), "")
        run, original = self._open().runs.get(key), self._rows.find(key)
        if run and run.finished and run.reference is None and original is not None:
            gaps, tags = run_values.gaps(original, record), {"reference": retrain.key}
            self._open().log(run, run_values.points(gaps), {}, tags, run_values.milliseconds(original))

    def _finish(self, node: Node, record: Record) -> None:
        """All of a run in one batch. A failed run may finish later; a finished one is left alone."""
        tracker = self._open()
        failure = None if record.status == "done" else run_values.failure(record)
        known = tracker.runs.get(node.key)
        if known and known.finished:
            self._add_scores(known, node, record)
            return
        if known and failure is not None and known.failure == failure:
            return
        model = self._rows.find(record.model)  # its curve; a cell's is that of the trial that it chose
        run = self._run(node, model or record)
        gaps, tags = self._verdict(node, record) if failure is None else ({}, {})
        tags |= run_values.tags(record, clear=run.failure is not None)
        tags |= {"chosen": run.chosen} if run.chosen else {}
        tags |= _rescored_tag(self._rescored.get(node.key, frozenset[str]()))
        tags |= {NOTE: run_note(self.spec, node, self.store.uri, tags.get("checkpoint"))}
        params = run_values.parameters(node, record) if failure is None else {}
        live = self._live.pop(node.key, set())
        curve = [point for point in run_values.curve(model) if (point[0], point[2]) not in live]
        points = run_values.points(run_values.metrics(record) | gaps) + curve
        tracker.log(run, points, params, tags, run_values.milliseconds(record))
        if failure is None and cell_of(self.plan, node) is None:
            self._complete(node, record, run)
        tracker.end(run, failure, run_values.milliseconds(record))
        self._written.append(node.key)

    def _add_scores(self, run: Run, node: Node, record: Record) -> None:
        """Adds to a finished run what scores have measured since."""
        wanted = self._rescored.get(node.key, frozenset[str]())
        if wanted <= run.rescored:
            return
        told = run_values.points(run_values.figures(record, wanted))
        self._open().log(run, told, {}, _rescored_tag(wanted), run_values.milliseconds(record))
        self._written.append(node.key)

    def _complete(self, node: Node, record: Record, run: Run) -> None:
        """What a cell has beside its figures: the data set, the table of its trials, and their chart."""
        tracker, data = self._open(), self.plan.nodes[data_of(self.plan, node)]
        images = self._rows.data(data.key)
        if images is not None:
            tracker.use(run, data_entity(data, images))
        if node.kind == "select" and record.model:
            cell = Cell(*(node.inputs[axis] for axis in Cell._fields))
            said = {"node_key": node.key, "seed": str(cell.seed), "ag": f"{record.ag:.4g}"}
            source = source_of(self.store.uri, record.model)
            tracker.keep_model(run, model_name(self.spec.recipe, cell), source, said)
        if not tracker.files:
            return
        found = [self._rows.find(c.evaluation) for c in record.candidates or ()]
        trials = [row for row in found if row] or [record]
        reference = self._rows.find(record.reference or self._references.get(problem_of(node)))
        try:
            tracker.attach(run, cell_files(run_values.run_name(self.spec, node), record, trials, reference))
        except (
            Exception
        ) as error:  # a server whose folder for files is out of reach, no driver for its bucket
            if tracker.files:
                tracker.files = False
                reason = _reason(error, str(self.uri))
                self._say(f"MLflow took no files ({reason}): its runs stay without their tables and charts")

    def _run(self, node: Node, start: Record | None = None, began: int | None = None) -> Run:
        """The run of an evaluation or selection, made if there is none, below its cell's run.

        start, began: the row that its work began with, or when, in milliseconds, as long as there is none.
        """
        tracker = self._open()
        if node.key in tracker.runs:
            return tracker.runs[node.key]
        cell = cell_of(self.plan, node)
        tags = run_values.coordinates(node) | {
            "kind": "trial" if cell else "cell",
            "recipe": self.spec.recipe,
            "store": self.store.uri,
            "mlflow.source.name": "orchestrator.grid",
            run_values.COLOUR: colour_of(node.inputs["method"]),
        }
        if cell:
            tags[PARENT] = self._run(cell, start, began).id
        began = run_values.began(start) if start and start.finished_at else began
        return tracker.create(node.key, run_values.run_name(self.spec, node), tags, began)

    def _verdict(self, node: Node, record: Record) -> Verdict:
        """A row's gaps to Retrain and what goes with them; of a trial only once its cell has chosen."""
        if cell_of(self.plan, node) is not None:
            gaps, tags = self._verdicts.get(node.key, ({}, {}))
            return gaps, dict(tags)
        tags = run_values.checkpoint(self.store.uri, record.model)
        if node.kind == "select":
            return run_values.gaps(record, self._rows.find(record.reference)), tags
        reference = self._references.get(problem_of(node))
        if reference == node.key:  # without an AG, which is 0 for Retrain alone and would make it the winner
            return {f"{name}_gap": 0.0 for name in FIGURES}, tags | {"reference": node.key}
        gaps = run_values.gaps(record, self._rows.find(reference))
        return gaps, tags | ({"reference": str(reference)} if gaps else {})


def _rescored_tag(names: Set[str]) -> dict[str, str]:
    return {RESCORED: " ".join(sorted(names))} if names else {}


def _reason(error: Exception, uri: str) -> str:
    """What went wrong, in a few words and without the password that MLflow repeats."""
    if isinstance(error, ImportError):
        return "mlflow is not installed"
    text = str(error).replace(uri, public(uri))
    if "Max retries exceeded" in text or "timed out" in text:
        return "no answer"
    return f"{text.splitlines()[0]:.160}" if text.strip() else type(error).__name__
