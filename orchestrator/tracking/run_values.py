"""What MLflow is told about a row: name, parameters, tags, metrics and curves, as plain values."""

import json
from collections.abc import Iterable, Iterator
from typing import Any

from core.checkpoint import WEIGHTS
from core.metrics import FIGURES, METRICS, average_gap, columns
from orchestrator.spec import GridSpec, colour_of, titles
from tasks import DECIDED_ALIKE, Node, Record

_BESIDE = (
    "ag",
    "ag_validation",
    "node_seconds",
    "epochs",
)  # numbers of a row that are no metric of its model
COORDINATES = ("dataset", "arch", "quant", "scenario", "amount", "seed", "method")
_TAGS = (
    "status", "code_revision", "hardware", "versions", "precision", "tried", "protocol", "select_on", "forget_count",
    "retain_count", "test_count",
)  # fmt: skip
_FAILURE = ("error_kind", "error_message", "log")
Point = tuple[str, float, int]  # name, value, step
VALUE_LIMIT = 500  # characters, which every MLflow takes for a parameter or tag
COLOUR = "mlflow.runColor"  # of a run's marks and lines in the UI's charts


_PALE = 0.65  # share of white in the colour of a trial that was not chosen


def trial_colour(method: str, *, chosen: bool) -> dict[str, str]:
    """The tag of a trial's colour once its cell has chosen: the method's own, pale for those that were not."""
    parts = (int(colour_of(method)[at : at + 2], 16) for at in (1, 3, 5))
    pale = "#" + "".join(f"{round(part + (255 - part) * _PALE):02x}" for part in parts)
    return {COLOUR: colour_of(method) if chosen else pale}


def run_name(spec: GridSpec, node: Node) -> str:
    """`Q-MUL · lr 0.012 · cifar10 · resnet18 4w4a · 10 %`: what differs comes first, as tables cut off names."""
    i = node.inputs
    parts = [titles.title(i["method"])]
    if "tried" in i:
        until = f" to epoch {i['until']}" if "until" in i else ""
        parts.append(titles.hyper_parameters(i["tried"]) + until)
    if len(spec.seeds) > 1:
        parts.append(f"seed {i['seed']}")
    forgotten = titles.scenario(i["scenario"], i["amount"]).removeprefix("random ")
    return " · ".join([*parts, i["dataset"], f"{i['arch']} {i['quant']}", forgotten])


def coordinates(node: Node) -> dict[str, str]:
    """A run's place in the grid."""
    return {name: f"{node.inputs[name]}" for name in COORDINATES if name in node.inputs}


def parameters(node: Node, record: Record) -> dict[str, str]:
    """Coordinates and hyper-parameters, nested ones as a.b."""
    hyper = dict(_flat(json.loads(record.params))) if record.params else {}
    return {name: value[:VALUE_LIMIT] for name, value in (hyper | coordinates(node)).items()}


def _flat(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", str(value)


def tags(record: Record, clear: bool = False) -> dict[str, str]:
    """Where a row came from and, for a failure, what happened; `clear` empties what an earlier failure said."""
    found = {name: getattr(record, name) for name in (*_TAGS, *_FAILURE)}
    empty = dict.fromkeys(_FAILURE, "") if clear else {}
    return empty | {name: str(value)[:VALUE_LIMIT] for name, value in found.items() if value is not None}


def checkpoint(store: str, model: str | None) -> dict[str, str]:
    """The tag that says where a model's weights lie in the store: a link, no copy."""
    return {"checkpoint": f"{store}/artifacts/{model}/{WEIGHTS}"} if model else {}


def failure(record: Record) -> str:
    """A failed row's message, as its tag holds it."""
    return (record.error_message or "")[:VALUE_LIMIT]


def metrics(record: Record) -> dict[str, float]:
    """The figures a row has; what compares outputs to Retrain's below `outputs/`, behind the others on every page."""
    return figures(record, METRICS) | {
        name: float(value) for name in _BESIDE if (value := getattr(record, name)) is not None
    }


def figures(record: Record, names: Iterable[str]) -> dict[str, float]:
    """What a row has of some metrics, the ends of intervals with them, by the names they have in MLflow."""
    where = {
        column: f"outputs/{column}" if METRICS[name].reads == "outputs" else column
        for name in names
        for column in columns(name)
    }
    found = record.figures(where)
    return {where[column]: float(value) for column, value in found.items() if value is not None}


def beside(record: Record) -> dict[str, float]:
    """What an audit, or the evaluation of an exported network, adds to its cell's run; of any other row nothing."""
    scores = {score.name: score.value for score in record.scores or () if score.value is not None}
    if record.kind == "audit":
        return {f"audit/{name}": value for name, value in scores.items()}
    if record.kind == "evaluate_export":
        found = record.figures((*FIGURES, DECIDED_ALIKE))
        return {f"export/{name}": value for name, value in found.items() if value is not None}
    return {}


def gaps(record: Record, reference: Record | None) -> dict[str, float]:
    """`fa_gap` to `mia_gap`: distance of each figure to Retrain's in percentage points; `ag`: their mean."""
    if reference is None or record.fa is None or reference.fa is None:
        return {}
    ours, theirs = (row.model_dump(include=set(FIGURES)) for row in (record, reference))
    found = {f"{name}_gap": abs(ours[name] - theirs[name]) for name in FIGURES}
    return found | {"ag": average_gap(ours, theirs)}


def points(figures: dict[str, float]) -> list[Point]:
    """Figures without an epoch, to five digits: MLflow's tables show all that they are given."""
    return [(name, float(f"{value:.5g}"), 0) for name, value in figures.items()]


def curve(model: Record | None) -> list[Point]:
    """The points that a model's training left."""
    return [(f"epoch/{fact.name}", fact.value, fact.epoch) for fact in (model.curve if model else None) or ()]


def milliseconds(record: Record) -> int | None:
    """When a node ended."""
    return None if record.finished_at is None else int(record.finished_at.timestamp() * 1000)


def began(record: Record) -> int:
    """When a node that has ended began, in milliseconds."""
    return (milliseconds(record) or 0) - int(1000 * (record.node_seconds or 0))
