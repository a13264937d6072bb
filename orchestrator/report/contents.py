"""What a store says about a grid: its rows, and everything that reports make of them."""

from dataclasses import dataclass
from functools import cached_property

from orchestrator.plan import Plan
from orchestrator.report.option_series import Series, all_series
from orchestrator.report.references import class_counts, with_refusals
from orchestrator.report.tables import Table
from orchestrator.report.tabulation import tables_of
from orchestrator.report.trials import EvaluatedTrial, evaluated_trials
from orchestrator.results import Entry, Older, Row, collect, find_older, measured_rows
from orchestrator.spec import GridSpec
from tasks.store import Store


@dataclass(frozen=True)
class GridContents:
    """What a store says about a grid. everything: all rows of the store. rows: those of the plan's nodes, by key.

    repairs: a line for each part that was broken. older: rows outside the plan that an older revision made, by key.
    trials: every finished trial.
    """

    everything: list[Row]
    rows: dict[str, Row]
    repairs: list[str]
    older: dict[str, Older]
    entries: list[Entry]
    tables: list[Table]
    trials: list[EvaluatedTrial]

    @cached_property
    def series(self) -> list[Series]:
        """Variants along one option, for charts and their file."""
        return all_series(self.entries, self.rows)


def read_grid(store: Store, spec: GridSpec, plan: Plan) -> GridContents:
    """What the store holds now: rows, tables, and what an older revision made."""
    everything, repairs = measured_rows(store)
    rows = {row["key"]: row for row in everything if row["key"] in plan.nodes}
    older = find_older(store, plan, everything)
    collected = collect(plan, rows.values(), {one.now for one in older.values()})
    entries = with_refusals(collected, class_counts(plan, store))
    tried = evaluated_trials(plan, entries, rows)
    return GridContents(
        everything, rows, repairs, older, entries, tables_of(spec, entries, rows, tried), tried
    )
