"""A trial as Ray Tune runs it: one step is one part of the trial and its evaluation, both nodes of ours.

Tune keeps no state of a trial: what is finished is in the store by its key, and a trial that begins again,
in this run or in the next one, finds it there.
"""

from typing import Any

from ray import tune
from ray.tune.result import DONE

from tasks.job import Job, Outcome, Place
from tasks.node import Node
from tasks.nodes import attempt, candidate, deciding_gap
from tasks.store import Store


class TuneTrial(tune.Trainable):  # type: ignore[misc]
    """An actor that takes one trial after the other. A config holds `search`, `parts` and `settled`.

    search: the search node; its first parent is Retrain's evaluation, and by its deciding gap, which is not a
    number where the trial failed, Tune compares. parts: (trial node, evaluation node, epochs) triples in order.
    settled: keys of trial nodes that failed before and would again.
    """

    def setup(self, config: dict[str, Any], place: Place) -> None:
        """Once an actor. place: where to work."""
        self._place = place
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """The next trial, on the same actor, with its images and its original in memory."""
        self._parts, self._config = list(new_config["parts"]), new_config
        return True

    def step(self) -> dict[str, Any]:
        """The next part. outcomes, computed: what happened to its nodes, and how many were not there before."""
        trial, evaluation, epochs = self._parts.pop(0)
        store = Store(self._place.store)
        outcomes: list[Outcome] = []
        there = store.manifests((trial.key, evaluation.key), broken={})
        for node in () if trial.key in self._config["settled"] else (trial, evaluation):
            outcomes.append(self._run(node))
            if outcomes[-1].failure is not None:
                break
        result = {"outcomes": outcomes, "computed": len(outcomes) - len(there), "epochs": epochs}
        if not outcomes or outcomes[-1].failure is not None:
            return result | {"ag": float("nan"), "seen": None, DONE: True}
        search: Node = self._config["search"]
        seen = candidate(outcomes[-1].record, store.manifest(search.parents[0]).record)
        return result | {"ag": deciding_gap(seen, search), "seen": seen, DONE: not self._parts}

    def _run(self, node: Node) -> Outcome:
        return attempt(Job(node, self._place))
