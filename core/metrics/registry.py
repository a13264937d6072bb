"""`METRICS`: every figure of one model. One file with the function and one entry here make a metric.

Metrics of other packages come by entry points of the group `unlearn_grid.metrics`; all that are installed are measured.

Whatever shows, writes or compares figures asks this registry when it works, never when it is imported.
"""

from collections.abc import Collection
from typing import Any

from core.errors import BadInput
from core.metrics import accuracies, attack, output_distances, run_time, weight_changes
from core.metrics.metric import MAIN, Estimate, Metric, Source
from core.registry import Registry

ATTACK, OUTPUTS, QUANTIZATION = "Membership attack", "Outputs beside Retrain's", "Quantization"
_ENDS = ("low", "high")  # of an interval, as its columns end

_HERE: dict[str, Metric] = {
    "fa": Metric(
        accuracies.forget_accuracy, "FA", "%", "closer to Retrain", 2, table=MAIN, chart=False,
        in_full="Accuracy on forgotten images",
    ),
    "ra": Metric(
        accuracies.retain_accuracy, "RA", "%", "closer to Retrain", 2, table=MAIN, chart=False,
        in_full="Accuracy on retained images",
    ),
    "ta": Metric(
        accuracies.test_accuracy, "TA", "%", "closer to Retrain", 2, table=MAIN, chart=False,
        in_full="Accuracy on test images",
    ),
    "mia": Metric(
        attack.mia, "MIA", "%", "closer to Retrain", 2, table=MAIN, in_full="Membership inference attack",
        about="MIA: share of forgotten images that the attack takes for never seen.",
    ),
    "mia_auc": Metric(
        attack.auc, "AUC", "%", "closer to Retrain", 2, interval=True, table=ATTACK,
        in_full="Attack by confidence alone: AUC",
        about="AUC: how often a forgotten image is given more confidence than a test image; 50: no trace.",
    ),
    "mia_tpr": Metric(
        attack.tpr, "TPR at 1 % FPR", "%", "closer to Retrain", 2, interval=True, table=ATTACK,
        in_full="Attack by confidence alone: TPR at 1 % FPR",
        about="TPR at 1 % FPR: share of forgotten images above a confidence that at most 1 % of the test images"
        " exceed; about 1: no trace.",
    ),
    "margin_auc": Metric(
        attack.margin_auc, "AUC of margins", "%", "closer to Retrain", 2, "margins", interval=True, table=None,
        chart=False, in_full="Attack by margins alone: AUC",
        about="AUC of margins: as AUC, also among images whose probability is rounded to 1.",
    ),
    "mia_separation": Metric(
        attack.separation, "Separation", "%", None, 2, table=ATTACK, chart=False,
        about="Separation: AUC of retained against test images, from which MIA's classifier learns; near 50 it has"
        " nothing to learn from.",
    ),
    "mia_swing": Metric(
        attack.swing, "Swing", "points", "lower", 2, table=ATTACK, chart=False,
        about="Swing: how far MIA moves when its classifier learns from every second image alone.",
    ),
    "ef": Metric(
        accuracies.error_on_forgotten_class, "E_F", "%", "higher", 2, table=OUTPUTS, chart=False,
        in_full="Error on the forgotten class",
        about="E_F: error on test images of the forgotten class, which A_R (that is TA) and the distances on test"
        " images leave out.",
    ),
    "activation_forget": Metric(
        output_distances.activation_on("forget"), "L2, forget", "", "lower", 3, "outputs", table=OUTPUTS, chart=False,
        about="L2: mean distance of the probabilities to Retrain's (activation distance, at most 1.414).",
    ),
    "activation_retain": Metric(
        output_distances.activation_on("retain"), "L2, retain", "", "lower", 3, "outputs", table=OUTPUTS, chart=False,
    ),
    "activation_test": Metric(
        output_distances.activation_on("test"), "L2, test", "", "lower", 3, "outputs", table=OUTPUTS, chart=False,
    ),
    "js_forget": Metric(
        output_distances.js_on("forget"), "JS, forget", "", "lower", 3, "outputs", table=OUTPUTS, chart=False,
        about="JS: their Jensen-Shannon divergence (at most 0.693). Both on up to 1,000 images of each set.",
    ),
    "js_retain": Metric(
        output_distances.js_on("retain"), "JS, retain", "", "lower", 3, "outputs", table=OUTPUTS, chart=False,
    ),
    "js_test": Metric(
        output_distances.js_on("test"), "JS, test", "", "lower", 3, "outputs", table=OUTPUTS, chart=False,
    ),
    "va": Metric(
        accuracies.validation_accuracy, "VA", "%", "higher", 2, table=None, chart=False,
        in_full="Accuracy on validation images",
    ),
    "mia_validation": Metric(
        attack.mia_on_validation, "MIA on validation images", "%", "closer to Retrain", 2, table=None, chart=False,
    ),
    "seconds": Metric(
        run_time.seconds, "RTE", "s", "lower", None, "training", table=MAIN, chart=False,
        in_full="Run time of unlearning",
    ),
    "flip_rate": Metric(
        weight_changes.flip_rate, "Flip rate", "%", None, 2, "weights", scale=100, table=QUANTIZATION,
        about="Flip rate: share of the original's integer weight codes that the method changed.",
    ),
    "step_drift": Metric(
        weight_changes.step_drift, "Step drift", "%", None, 2, "weights", scale=100, table=QUANTIZATION, chart=False,
        about="Step drift: mean relative change of the original's learned step sizes.",
    ),
}  # fmt: skip
METRICS: dict[str, Metric] = Registry("metric", Metric, "unlearn_grid.metrics", _HERE).everything()


def columns(name: str) -> tuple[str, ...]:
    """The columns of a registered metric: its name, and {name}_low and {name}_high where it has an interval."""
    ends = _ENDS if METRICS[name].interval else ()
    return (name, *(f"{name}_{end}" for end in ends))


def all_columns() -> tuple[str, ...]:
    """The columns of all registered metrics."""
    return tuple(column for name in METRICS for column in columns(name))


def measure(reads: Source, *evidence: Any, only: Collection[str] | None = None) -> dict[str, float | None]:
    """What the metrics that read a source say about it, by column.

    evidence: as `Metric.reads` describes it. only: the names to measure; None: all. Raises BadInput for a metric that
    gives a number that is none.
    """
    found: dict[str, float | None] = {}
    for name, metric in METRICS.items():
        if metric.reads == reads and (only is None or name in only):
            found |= _checked(name, metric.function(*evidence))
    return found


def _checked(name: str, value: float | Estimate | None) -> dict[str, float | None]:
    values = value if isinstance(value, Estimate) else (value,) * len(columns(name))
    if not all(one is None or abs(one) < float("inf") for one in values):
        raise BadInput(f"metric {name} gives {value}, which is no number")
    if len(values) != len(columns(name)):
        raise BadInput(
            f"metric {name} gives an interval, which its entry in METRICS does not announce (interval=True)"
        )
    return {
        column: None if one is None else float(one) for column, one in zip(columns(name), values, strict=True)
    }
