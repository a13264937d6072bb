"""Cells whose trials Ray Tune runs: which trial comes next, and what each has come to.

Of every cell one trial runs at a time. So what a cell tries and stops depends on its own results alone, and
neither on the number of workers nor on which of them is quick; with more cells than workers none waits for it.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol

from ray.tune.schedulers import ASHAScheduler, FIFOScheduler
from ray.tune.search.optuna import OptunaSearch

from core.unlearn import Choice, Range
from orchestrator.plan import GOLDEN, Ledger, Point, Search, parts, rounded, schedule
from tasks import Candidate, Node

METRIC, TIME = "ag", "epochs"


class Suggester(Protocol):
    """Where a cell's points come from."""

    def suggest(self, trial_id: str) -> Point:
        """The next point."""
        ...

    def tell(self, trial_id: str, gap: float | None) -> None:
        """A trial's last gap; None if it failed."""
        ...


class Listed:
    """The points of a grid, from all over the range by turns, so that early ones say something about it."""

    def __init__(self, points: Sequence[Point]) -> None:
        order = sorted(range(len(points)), key=lambda number: number * GOLDEN % 1)
        self._points = [points[number] for number in order]

    def suggest(self, trial_id: str) -> Point:  # noqa: ARG002
        """The next one."""
        return self._points.pop(0)

    def tell(self, trial_id: str, gap: float | None) -> None:
        """A grid does not learn."""


class Study:
    """Optuna's TPE over the ranges of a search; the first third of its trials are drawn at random."""

    def __init__(self, search: Search, trials: int) -> None:
        from optuna import distributions, logging
        from optuna.samplers import TPESampler

        logging.set_verbosity(logging.ERROR)
        space = {name: _distribution(distributions, values) for name, values in search.space.items()}
        sampler = TPESampler(n_startup_trials=-(-trials // 3), seed=search.base["seed"])
        self._search = OptunaSearch(space, metric=METRIC, mode="min", sampler=sampler)

    def suggest(self, trial_id: str) -> Point:
        """The next one; equal results give equal points."""
        return {name: rounded(value) for name, value in self._search.suggest(trial_id).items()}

    def tell(self, trial_id: str, gap: float | None) -> None:
        """Learns."""
        self._search.on_trial_complete(trial_id, None if gap is None else {METRIC: gap}, error=gap is None)


def _distribution(distributions: Any, values: Range | Choice) -> Any:
    """Optuna's word for a range or a choice."""
    if isinstance(values, Choice):
        return distributions.CategoricalDistribution(values.values)
    if values.whole:
        return distributions.IntDistribution(int(values.low), int(values.high), log=values.log)
    return distributions.FloatDistribution(values.low, values.high, log=values.log)


class TunedCell:
    """One search node's trials.

    settled: trial nodes that are not tried again. bracket: the cell's own ASHA, since gaps of different cells
    cannot be compared. left, total: trials that have not begun, and all. whole: cleared when a trial
    ended for a reason that is not the search's; the cell is then left for the next run.
    """

    def __init__(self, node: Node, settled: Collection[str]) -> None:
        self.node, self.search, self.looks = node, Search.of(node), schedule(node)
        self._settled = settled
        i = node.inputs
        self.suggester: Suggester = (
            Study(self.search, i["trials"])
            if i["mode"] == "optuna"
            else Listed(self.search.points(i["trials"]))
        )
        self.left = self.total = i["trials"]
        self.whole = True
        self.running: str | None = None
        self.seen: dict[str, Candidate] = {}
        self._trials: dict[str, tuple[Point, list[int]]] = {}
        self._last: float | None = None
        self.bracket = FIFOScheduler()
        if len(self.looks) > 1:
            self.bracket = ASHAScheduler(
                time_attr=TIME,
                metric=METRIC,
                mode="min",
                max_t=self.looks[-1],
                grace_period=i["first_epochs"],
                reduction_factor=i["reduction"],
            )

    def begin(self, trial_id: str) -> dict[str, Any]:
        """The next trial, as `tasks.executors.tune_trial` takes it."""
        point = self.suggester.suggest(trial_id)
        self.left, self.running, self._last = self.left - 1, trial_id, None
        self._trials[trial_id] = point, []
        pairs = parts(self.search, point, self.looks)
        return {
            "search": self.node,
            "parts": [(trial, measured, n) for (trial, measured), n in zip(pairs, self.looks, strict=True)],
            "settled": {trial.key for trial, _ in pairs if trial.key in self._settled},
        }

    def look(self, trial_id: str, result: Mapping[str, Any]) -> None:
        """Takes in one part's result; a trial that began again repeats itself."""
        looks, seen = self._trials[trial_id][1], result["seen"]
        if result[TIME] not in looks:
            looks.append(result[TIME])
        self._last = None if seen is None else result[METRIC]
        if seen is not None:
            self.seen[seen.evaluation] = seen

    def end(self, trial_id: str) -> None:
        """The trial is over, at its end or before."""
        self.suggester.tell(trial_id, self._last)
        self.running = None

    @property
    def over(self) -> bool:
        """Whether all trials are."""
        return self.left == 0 and self.running is None

    @property
    def ledger(self) -> Ledger:
        """The trials as far as they went, in the order of their points."""
        begun = [trial for trial in self._trials.values() if trial[1]]
        return sorted(begun, key=lambda trial: tuple(trial[0].values()))
