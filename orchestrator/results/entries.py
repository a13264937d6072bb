"""One entry for each method, problem and seed of a grid: its row, or why there is none."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

from core.metrics import FIGURES, average_gap
from core.unlearn import METHODS
from orchestrator.plan import Cell, Plan
from orchestrator.spec import ORIGINAL, base_name
from tasks import Node

Row = dict[str, Any]


@dataclass(frozen=True)
class Entry:
    """A method on a problem at one seed. hole: why `row` is None, beginning with missing, unfinished or failed.

    reference: Retrain's row. trials, failed_trials: of a cell that was searched. refused: why that Retrain is no
    reference, in words; then nothing is measured against it, whatever a selection recorded.
    """

    cell: Cell
    key: str
    row: Row | None
    reference: Row | None
    hole: str = ""
    trials: int = 0
    failed_trials: int = 0
    refused: str = ""

    @property
    def status(self) -> str:
        """`done`, or the first word of the hole."""
        return "done" if self.row else self.hole.split(":")[0]

    def gap(self, figure: str) -> float | None:
        """Distance of one figure to Retrain's; None for Retrain and where either is missing or no reference."""
        if self.refused or self.cell.method == "retrain" or not self.row or not self.reference:
            return None
        return float(abs(self.row[figure] - self.reference[figure]))

    @property
    def ag(self) -> float | None:
        """Average gap to Retrain: 0 for itself, for a method what its selection recorded."""
        if not self.row or self.refused:
            return None
        if self.row["ag"] is not None:
            return float(self.row["ag"])
        if self.cell.method == "retrain":
            return 0.0
        return average_gap(_figures(self.row), _figures(self.reference)) if self.reference else None


def _figures(row: Row) -> dict[str, float]:
    return {name: row[name] for name in FIGURES}


def collect(plan: Plan, rows: Iterable[Row], older: Collection[str] = ()) -> list[Entry]:
    """Original, Retrain and the methods in registry order, for each problem and seed in the plan's order.

    A method's variants follow it in the order in which the grid names them. older: keys of the plan's nodes that an
    older revision has finished, which their holes say.
    """
    known = _Known(plan, {row["key"]: row for row in rows}, older)
    references, methods, hooked = _references(plan), _methods(plan), _hooked(plan)
    entries = []
    for problem, original in plan.originals.items():
        reference = references.get(problem)
        at = [(problem._replace(method=ORIGINAL), original), *hooked.get(problem, [])]
        at += [(problem, reference)] if reference else []
        at += [(cell, plan.cells[cell]) for cell in methods.get(problem, [])]
        entries += [known.entry(cell, key, reference) for cell, key in at]
    return entries


def _methods(plan: Plan) -> dict[Cell, list[Cell]]:
    """The cells of each problem but Retrain's, sorted."""
    rank = {name: number for number, name in enumerate(METHODS)}
    found: dict[Cell, list[Cell]] = {}
    for cell in sorted(plan.cells, key=lambda c: (rank.get(base_name(c.method), len(rank)), ":" in c.method)):
        if cell.method != "retrain":
            found.setdefault(cell.problem, []).append(cell)
    return found


def _hooked(plan: Plan) -> dict[Cell, list[tuple[Cell, str]]]:
    """The originals of each problem whose training a method took part in."""
    found: dict[Cell, list[tuple[Cell, str]]] = {}
    for cell, key in plan.hooked.items():
        found.setdefault(cell.problem, []).append((cell, key))
    return found


def _references(plan: Plan) -> dict[Cell, str]:
    """Retrain's evaluation of each problem, also where the grid does not list Retrain as a method."""
    found = {}
    for cell, key in plan.cells.items():
        found[cell.problem] = key if cell.method == "retrain" else plan.nodes[key].parents[0]
    return found


class _Known:
    """What the rows say about the nodes of a plan."""

    def __init__(self, plan: Plan, rows: dict[str, Row], older: Collection[str]) -> None:
        self.plan, self.rows, self.older = plan, rows, older
        self._causes: dict[str, str | None] = {}

    def done(self, key: str | None) -> Row | None:
        row = self.rows.get(key) if key else None
        return row if row and row["status"] == "done" else None

    def entry(self, cell: Cell, key: str, reference: str | None) -> Entry:
        row, node = self.done(key), self.plan.nodes[key]
        trials = failed = 0
        if node.kind == "select":
            trials, evaluations = self.plan.trials(node), self.plan.evaluations(node)
            failed = sum(self.done(evaluation.key) is None for evaluation in evaluations) if row else 0
        hole = "" if row else self.hole(node)
        return Entry(cell, key, row, self.done(reference), hole, trials, failed)

    def hole(self, node: Node) -> str:
        """Why a node has no figures."""
        cause = self.cause(node.key)
        if cause is not None:
            message = self.rows[cause]["error_message"] or self.rows[cause]["error_kind"] or "no message"
            culprit = self.plan.nodes[cause].kind
            where = "" if cause == node.key else "every trial: " if culprit == "trial" else f"its {culprit}: "
            return f"failed: {where}{message}"
        older = node.key in self.older
        missing = "missing: made by an older revision only" if older else "missing: not run yet"
        if node.kind == "select" and self.plan.nodes[node.parents[1]].kind == "search":
            begun = all(self.done(key) for key in self.plan.nodes[node.parents[1]].parents)
            return "unfinished: its search has not ended" if begun else missing
        trials = self.plan.evaluations(node) if node.kind == "select" else []
        done = sum(self.done(trial.key) is not None for trial in trials)
        if done:
            finished = "; finished by an older revision only" if older else ""
            return f"unfinished: {done} of {len(trials)} trials done{finished}"
        return missing

    def cause(self, key: str) -> str | None:
        """The failed node that keeps this one from finishing, itself included; None if nothing does."""
        if key not in self._causes:
            row = self.rows.get(key)
            if row and row["status"] != "done":
                self._causes[key] = key
            else:
                self._causes[key] = None if row else self._upstream(self.plan.nodes[key])
        return self._causes[key]

    def _upstream(self, node: Node) -> str | None:
        """A selection needs Retrain and any one trial; every other node needs all its parents."""
        if node.kind != "select":
            return next((c for c in map(self.cause, node.parents) if c), None)
        reference, *trials = map(self.cause, node.parents)
        return reference or (trials[0] if trials and all(trials) else None)
