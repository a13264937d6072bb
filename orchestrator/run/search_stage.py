"""The searches of a grid as one stage on Ray Tune, with what the driver knows about stores, failures and stops."""

from functools import partial
from typing import Any

from orchestrator.plan import parts
from orchestrator.run.driver import Driver
from orchestrator.search import TunedCell, tuned
from tasks import Node, Outcome


def tune_stage(driver: Driver, searches: list[Node]) -> None:
    """Runs search nodes; those that end are finished in store, plan and frontier, the others stay to do."""
    stage = _Stage(driver, searches)
    tuned(
        stage.cells,
        driver.place,
        driver.executor.capacity,
        lambda cell: driver.cost.work(cell.node),
        lambda: driver.clock.longest() <= 0,
        stage.heard,
        stage.tick,
    )
    stage.close()


class _Stage:
    def __init__(self, driver: Driver, searches: list[Node]) -> None:
        self.driver, self.cells = driver, [TunedCell(node, driver.settled) for node in searches]
        self._open = list(self.cells)
        self._corrupt: dict[str, str] = {}

    def heard(self, cell: TunedCell, result: dict[str, Any]) -> None:
        """A part of a trial has come to its end."""
        self.driver.summary.computed += result["computed"]
        for outcome in result["outcomes"]:
            if outcome.failure == "store" or outcome.corrupt_parent is not None:
                cell.whole = False
                self._set_aside(outcome)
            else:
                self.driver.note(outcome)

    def tick(self) -> None:
        """Finishes the cells that are over."""
        for cell in [cell for cell in self._open if cell.over]:
            self._open.remove(cell)
            if cell.whole:
                self.driver.guarded(partial(self._end, cell))
        self.driver.show.update((), self._eta, self.driver.watch.anything)

    def close(self) -> None:
        """What is left to say and to do once Tune has ended."""
        self.tick()
        for parent, why in self._corrupt.items():
            if not self.driver.heal(parent, why):
                self.driver.summary.warnings.append(f"broken again and again: {why}")
        left = sum(not cell.whole for cell in self.cells)
        if left and not self._corrupt and self.driver.clock.longest() > 0:
            self.driver.summary.warnings.append(
                f"{left} searches lost their workers too often and are not finished"
            )

    def _set_aside(self, outcome: Outcome) -> None:
        message = outcome.record.error_message or "the store cannot be written"
        if outcome.corrupt_parent is not None:
            self._corrupt[outcome.corrupt_parent] = message
        else:
            self.driver.lose(message)

    def _eta(self) -> float:
        """Expected seconds until the end, as far as trials have not begun."""
        left = sum(self.driver.cost.total([cell.node]) * cell.left / cell.total for cell in self._open)
        return self.driver.eta() + left / self.driver.executor.capacity.slots

    def _end(self, cell: TunedCell) -> None:
        pairs = [pair for point, looks in cell.ledger for pair in parts(cell.search, point, looks)]
        self.driver.take_in([node for pair in pairs for node in pair])
        self.driver.end_search(cell.node, cell.ledger, list(cell.seen.values()))
