"""The trials of a cell as nodes: whole, or in parts that go on one from the other.

A whole trial is the same node, with the same key, whatever search came to it: a grid finds what halving ran
to the end, and the other way round. A part is that trial with `until`, the epochs after which it pauses; the
next part takes up the state that it left, and computes it again where that is lost.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from core.sources import SOURCES, method_source
from core.unlearn import METHODS, Space
from orchestrator.plan.search_points import Point, grid_points, space_from, space_json, tried_text
from orchestrator.spec import SearchSpec, base_name
from tasks import Node, make_node

AXES = ("dataset", "arch", "quant", "scenario", "amount", "seed")
_BASE = (*AXES, "limit", "width", "augment", "validation")
_SOMETIMES = ("test_share", "listed", SOURCES)  # in the inputs only where a grid sets it
_EVALUATED = (*AXES, "method", "validation", "params", "tried", "until", "listed")


@dataclass(frozen=True)
class Search:
    """What a cell searches.

    base: the problem's inputs. label: the method as the cell calls it. params: its hyper-parameters with those
    to search at their defaults. space: what is searched. fixed: what the grid or the label sets. data, original:
    keys of the nodes that trials read.
    """

    base: dict[str, Any]
    label: str
    params: dict[str, Any]
    space: Space
    fixed: frozenset[str]
    data: str
    original: str
    method: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "method", base_name(self.label))

    @staticmethod
    def of(node: Node) -> "Search":
        """What a search node searches."""
        i, (_, original, data) = node.inputs, node.parents
        base = {name: i[name] for name in _BASE} | {name: i[name] for name in _SOMETIMES if name in i}
        fixed = frozenset(i["fixed"])
        return Search(base, i["method"], i["params"], space_from(i["space"]), fixed, data, original)

    def node(self, reference: str, settings: SearchSpec, select_on: str) -> Node:
        """The search as a node, for modes that decide as they go. reference: Retrain's evaluation."""
        choice = settings.model_dump(mode="json", exclude={"ranges"})
        choice |= {"select_on": select_on, "fixed": sorted(self.fixed), "trials": self._trials(settings)}
        inputs = self.base | {
            "method": self.label,
            "method_revision": METHODS[self.method].revision,
            **method_source(self.method),
            "params": self.params,
            "space": space_json(self.space),
        }
        return make_node("search", (reference, self.original, self.data), inputs | choice)

    @property
    def epochs(self) -> int | None:
        """Epochs of a whole trial; None for a method that has none."""
        return self.params.get("epochs")

    def whole(self, epochs: int) -> bool:
        """Whether a trial that was looked at after these epochs has come to its end; 0 for one without epochs."""
        return epochs == (self.epochs or 0)

    def adapts(self, settings: SearchSpec) -> bool:
        """Whether a mode has anything to decide here, and the search is not that of a grid."""
        if settings.mode == "grid" or self._trials(settings) == 1 or not self.space:
            return False
        return settings.mode == "optuna" or (self.epochs or 0) > settings.first_epochs

    def _trials(self, settings: SearchSpec) -> int:
        """As many as the grid has for every method; fewer where there are fewer values to choose among."""
        return len(self.points(settings.trials))

    def points(self, trials: int) -> tuple[Point, ...]:
        """The points of a grid."""
        return grid_points(self.space, trials)

    def nodes(self, point: Point, until: int | None = None, before: int = 0) -> tuple[Node, Node]:
        """A trial, or the part of it until an epoch, and its evaluation. before: epochs of the part before it.

        Trials carry the method's plain name and all its parameters, so that variants share what is equal.
        """
        params = {**self.params, **point}  # valid, as tests/orchestrator/plan/test_search_points.py sees to
        inputs = self.base | {
            "method": self.method,
            "method_revision": METHODS[self.method].revision,
            **method_source(self.method),
            "params": params,
            "tried": tried_text(point),
        }
        if until is not None:
            inputs["until"] = until
        trial = make_node("trial", (self.data, self.original), inputs, self.label, before)
        return trial, evaluation(trial, inputs | {"method": self.label})


def export_evaluation(base: Mapping[str, Any], label: str, holder: str) -> Node:
    """The node that measures a cell's network once more, exported. holder: the selection or evaluation of the cell."""
    inputs = {name: base[name] for name in (*AXES, "validation", "listed") if name in base} | {
        "method": label
    }
    return make_node("evaluate_export", (holder,), inputs, label)


def evaluation(model: Node, inputs: dict[str, Any] | None = None) -> Node:
    """The node that measures a model, under its own or the given coordinates."""
    source = inputs or model.inputs
    return make_node("evaluate", (model.key,), {n: source[n] for n in _EVALUATED if n in source})
