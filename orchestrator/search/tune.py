"""The search stage on Ray Tune: one Tuner over all cells, actors that are used again, a bracket for each cell."""

import logging
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from ray import tune
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from orchestrator.search.candidates import METRIC, TunedCell
from tasks import Place
from tasks.executors import Capacity, TuneTrial

_RESTARTS = 10  # of a trial whose worker or machine died; its finished parts are in the store
_SETTINGS = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # the store holds every number
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # the driver has its own
    "TUNE_RESULT_BUFFER_LENGTH": "1",
    "TUNE_WARN_THRESHOLD_S": "5",
    "RAY_AIR_NEW_OUTPUT": "0",  # whose silence still prints a table
}

Heard = Callable[[TunedCell, dict[str, Any]], None]


class _Unsaved:
    """Tune saves its parts for a restore that never comes: a run goes on from the store."""

    def __reduce__(self) -> tuple[Any, ...]:
        return object, ()


class CellSearcher(_Unsaved, Searcher):  # type: ignore[misc]
    """Hands out the trials of all cells, the cell with the most work left first."""

    def __init__(
        self, cells: Iterable[TunedCell], work: Callable[[TunedCell], float], stopping: Callable[[], bool]
    ) -> None:
        super().__init__(metric=METRIC, mode="min")
        self._cells, self._work, self._stopping = list(cells), work, stopping
        self._running: dict[str, TunedCell] = {}

    def set_search_properties(
        self, metric: str | None, mode: str | None, config: dict[str, Any], **spec: Any
    ) -> bool:
        """Nothing to set."""
        return True

    def suggest(self, trial_id: str) -> Any:
        """A free cell's next trial; None while every cell is busy, and the end when there is nothing left."""
        left = [cell for cell in self._cells if cell.left]
        if not left or self._stopping():
            return Searcher.FINISHED
        free = [cell for cell in left if cell.running is None]
        if not free:
            return None
        cell = max(free, key=lambda cell: cell.left * self._work(cell))
        self._running[trial_id] = cell
        return cell.begin(trial_id)

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """The cell is free for its next trial; an error is a trial whose workers kept dying."""
        cell = self._running.pop(trial_id)
        cell.whole = cell.whole and not error
        cell.end(trial_id)

    def save(self, checkpoint_path: str) -> None:
        """Nothing to save."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to restore."""


class CellBrackets(_Unsaved, FIFOScheduler):  # type: ignore[misc]
    """Asks each trial's own cell whether it goes on."""

    def __init__(self, cells: dict[str, TunedCell], stopping: Callable[[], bool]) -> None:
        super().__init__()
        self._cells, self._stopping = cells, stopping

    def set_search_properties(self, metric: str | None, mode: str | None, **spec: Any) -> bool:
        """Nothing to set."""
        return True

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        """The trial enters its cell's bracket."""
        self._cell(trial).bracket.on_trial_add(tune_controller, trial)

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Whether the trial falls behind those before it in its cell; all end when a stop was asked for."""
        cell = self._cell(trial)
        if self._stopping():
            cell.whole = False
            return str(TrialScheduler.STOP)
        return str(cell.bracket.on_trial_result(tune_controller, trial, result))

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        """The last result counts for the bracket, if there is one."""
        if result["seen"] is not None:
            self._cell(trial).bracket.on_trial_complete(tune_controller, trial, result)

    def _cell(self, trial: Any) -> TunedCell:
        return self._cells[trial.config["search"].key]


class _Listener(_Unsaved, tune.Callback):  # type: ignore[misc]
    """Passes on what trials report, and that time goes by."""

    def __init__(self, cells: dict[str, TunedCell], heard: Heard, tick: Callable[[], None]) -> None:
        self._cells, self._heard, self._tick = cells, heard, tick

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        cell = self._cells[trial.config["search"].key]
        cell.look(trial.trial_id, result)
        self._heard(cell, result)

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        self._tick()


def tuned(
    cells: list[TunedCell],
    place: Place,
    capacity: Capacity,
    work: Callable[[TunedCell], float],
    stopping: Callable[[], bool],
    heard: Heard,
    tick: Callable[[], None],
) -> None:
    """Runs the trials of all cells on the Ray of this process, until all are over or a stop is asked for.

    Args:
        cells: what to search; each is changed as its trials come in.
        place: where trials work.
        capacity: how many at once, and each one's share of a GPU.
        work: the cost of one of a cell's trials.
        stopping: whether to end; trials in flight end with the part they are at.
        heard: called with every part's result.
        tick: called often.
    """
    by_key = {cell.node.key: cell for cell in cells}
    needs = {"cpu": 0, "gpu": capacity.gpus} if capacity.gpus else {"cpu": 1}
    with _settings(), tempfile.TemporaryDirectory(prefix="unlearn-grid-tune-") as folder:
        tuner = tune.Tuner(
            tune.with_resources(tune.with_parameters(TuneTrial, place=place), needs),
            tune_config=tune.TuneConfig(
                search_alg=CellSearcher(cells, work, stopping),
                scheduler=CellBrackets(by_key, stopping),
                num_samples=sum(cell.left for cell in cells),
                max_concurrent_trials=capacity.slots,
                reuse_actors=True,
                trial_dirname_creator=lambda trial: str(trial.trial_id),
            ),
            run_config=tune.RunConfig(
                name="search",
                storage_path=folder,
                verbose=0,
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                failure_config=tune.FailureConfig(max_failures=_RESTARTS),
                callbacks=[_Listener(by_key, heard, tick)],
            ),
        )
        tuner.fit()


@contextmanager
def _settings() -> Iterator[None]:
    """Tune reads its settings from the environment, and logs a traceback of every worker that it replaces."""
    before = {name: os.environ.get(name) for name in _SETTINGS}
    os.environ.update(_SETTINGS)
    logger = logging.getLogger("ray.tune")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)
        for name, value in before.items():
            os.environ.pop(name, None) if value is None else os.environ.__setitem__(name, value)
