"""Successive halving of cells while the grid runs: what to run next, from the gaps that have come in."""

from collections.abc import Callable

from orchestrator.plan import Ledger, Part, Search, halving, parts, schedule
from tasks import Candidate, Node, Record
from tasks.nodes import candidate, deciding_gap
from tasks.store import Corrupt, Store


class Halving:
    """One cell's search under way. seen: the gaps of every look that there was."""

    def __init__(self, node: Node, store: Store) -> None:
        self.node, self.search, self._store = node, Search.of(node), store
        self._points = self.search.points(node.inputs["trials"])
        self._looks = schedule(node)
        self._retrain = store.manifest(node.parents[0]).record
        self._decisions = halving(len(self._points), self._looks, node.inputs["reduction"])
        self._reached: dict[int, list[int]] = {}
        self.seen: list[Candidate] = []
        self._want(next(self._decisions))

    def step(self, settled: Callable[[str], bool]) -> bool:
        """Takes in the gaps once all are there; False if some are not, or the search is over.

        Raises Corrupt for an evaluation that is there and broken: it is no failed trial.
        """
        keys = {trial: measured.key for (trial, _), (_, measured) in self._parts.items()}
        if self.over or not all(map(settled, keys.values())):
            return False
        broken: dict[str, Corrupt] = {}
        found = self._store.manifests(keys.values(), broken)
        for error in broken.values():
            if not error.missing:  # a trial that failed has left none
                raise error
        gaps = {trial: self._gap(found[key].record) if key in found else None for trial, key in keys.items()}
        try:
            self._want(self._decisions.send(gaps))
        except StopIteration:
            self._want([])
        return True

    @property
    def over(self) -> bool:
        """Whether nothing is wanted any more."""
        return not self._parts

    @property
    def wanted(self) -> list[Node]:
        """The nodes of the parts that it waits for, parents before children."""
        return [node for pair in self._parts.values() for node in pair]

    @property
    def ledger(self) -> Ledger:
        """The trials as far as they went."""
        return [(self._points[trial], looks) for trial, looks in sorted(self._reached.items())]

    def _want(self, batch: list[Part]) -> None:
        self._parts: dict[Part, tuple[Node, Node]] = {}
        for trial, epochs in batch:
            looks = self._reached.setdefault(trial, [])
            looks.append(epochs)
            self._parts[trial, epochs] = parts(self.search, self._points[trial], looks)[-1]

    def _gap(self, evaluation: Record) -> float:
        seen = candidate(evaluation, self._retrain)
        self.seen.append(seen)
        return deciding_gap(seen, self.node)
