"""Charts with a line for each method: AG, time, each metric. Seeds are small marks, means large ones."""

import json
from collections.abc import Callable, Collection
from typing import Any

import altair as alt

from core.metrics import METRICS
from orchestrator.report.charts.parts import (
    FLOOR,
    GAP_TITLE,
    NO_TRIALS,
    ROUND_TICKS,
    RULE,
    RUN,
    STEP,
    Chart,
    Data,
    Scope,
    colour,
    gap_x,
    log_axis,
    method_axis,
    rows,
    shape,
    tip,
)
from orchestrator.spec import titles

SEEDS = 8  # pixels that the marks of seeds lie beneath their mean's


def ag_chart() -> Chart:
    """The average gap of every method, against the noise floor."""
    return Chart(
        "Average gap to Retrain",
        "Further left is closer to Retrain. Large marks: means over seeds with their 95 % interval; small marks: seeds."
        " Shaded: the noise floor, where there is one. Where gaps lie far apart, the axis is logarithmic beyond 1.",
        _ag,
        _has("lines", "ag"),
        _height,
    )


def _ag(scope: Scope) -> alt.TopLevelMixin:
    x = gap_x(scope)
    floor = alt.Chart(rows("floor")).encode(
        x=alt.X("floor:Q", scale=x["scale"], title=GAP_TITLE), x2=alt.value(0), tooltip=tip("text", "Floor")
    )
    label = alt.Chart(rows("floor")).mark_text(align="left", baseline="bottom", color=FLOOR)
    named = label.encode(x=alt.value(0), y=alt.value(-12), text="text:N")
    return _layered(scope, x, "ag", ("retrain",), [floor.mark_rect(color=FLOOR, opacity=0.22), named])


def metric_chart(name: str) -> Chart:
    """A registered metric of every method; against Retrain's where it should be close to that."""
    metric = METRICS[name]
    beside = metric.better == "closer to Retrain"
    about = f"{metric.about} {_BETTER[metric.better]}".strip()
    without = NO_TRIALS if metric.reads == "weights" else ("retrain",) if beside else ()
    behind = _retrain(name, unit=metric.unit) if beside else []
    return Chart(
        metric.name_in_full,
        about,
        lambda scope: _layered(scope, _linear(name, metric.heading), name, without, behind),
        _has("lines", name),
        _height,
    )


_BETTER = {
    "closer to Retrain": "Dashed: Retrain, which a method should meet.",
    "higher": "Further right is better.",
    "lower": "Further left is better.",
    None: "",
}


def time_chart() -> Chart:
    """The run time of every method, against Retrain's."""
    return Chart(
        "Run time of unlearning",
        "Training alone, on the hardware above. Dashed: Retrain, which a method should undercut.",
        _time,
        _has("lines", "seconds"),
        _height,
    )


def _time(scope: Scope) -> alt.TopLevelMixin:
    scale = alt.Scale(type="log", padding=12, nice=False)
    x = alt.X("seconds:Q", scale=scale, axis=log_axis(ROUND_TICKS), title="RTE, seconds (logarithmic)")
    return _layered(scope, x, "seconds", NO_TRIALS, _retrain("seconds", "time"))


def _linear(field: str, title: str) -> alt.X:
    return alt.X(f"{field}:Q", scale=alt.Scale(zero=True, nice=False, padding=10), title=title)


def _layered(
    scope: Scope, x: alt.X, field: str, without: Collection[str], behind: list[Any]
) -> alt.TopLevelMixin:
    """Marks of the means over their intervals and seeds, over what lies behind. without: labels not to show."""
    y, paint = method_axis(scope, without), colour(scope, without=without)
    mark = shape(scope, without=without)
    kept = " && ".join(f"datum.method != '{titles.title(label)}'" for label in without) or "true"
    lines, seeds = alt.Chart(rows("lines")), alt.Chart(rows("seeds"))
    interval = (
        lines.mark_rule(strokeWidth=2, opacity=0.6)
        .transform_filter(f"{kept} && isValid(datum.{field}_low)")
        .encode(x=alt.X(f"{field}_low:Q", title=x["title"]), x2=f"{field}_high:Q", y=y, color=paint)
    )
    runs = (
        seeds.mark_point(size=22, opacity=0.7, yOffset=SEEDS)
        .transform_filter(kept)
        .encode(x=x, y=y, color=paint, shape=mark, tooltip=list(RUN))
    )
    means = (
        lines.mark_point(size=110, filled=True, opacity=1)
        .transform_filter(kept)
        .encode(x=x, y=y, color=paint, shape=mark, tooltip=_about(field))
    )
    height = STEP * (len(scope.labels) - len(without))
    return alt.layer(*behind, interval, runs, means).properties(width="container", height=height)


def _about(field: str) -> list[alt.Tooltip]:
    return [
        tip("method", "Method"),
        tip(f"{field}_text", "Mean" if field == "seconds" else "Mean ± 95 % interval"),
        tip("seeds", "Seeds"),
        tip("hyper", "Hyper-parameters"),
        tip("keys", "Keys"),
    ]


def _retrain(field: str, text: str = "", unit: str = "%") -> list[alt.Chart]:
    """Retrain's mean as a dashed line with its value above it, where it is known."""
    base = alt.Chart(rows("retrain")).transform_filter(f"isValid(datum.{field})")
    said = f"datum.{text}" if text else f"format(datum.{field}, '.2f') + {json.dumps(f' {unit}'.rstrip())}"
    rule = base.mark_rule(color=RULE, strokeDash=[5, 4], strokeWidth=1.5)
    label = base.transform_calculate(said=f"'Retrain: ' + {said}").mark_text(align="left", baseline="bottom")
    return [rule.encode(x=f"{field}:Q"), label.encode(x=alt.value(0), y=alt.value(-12), text="said:N")]


def _has(name: str, field: str) -> Callable[[Data, Scope], bool]:
    return lambda data, _scope: any(
        row.get(field) is not None for row in data[name] if row["role"] == "method"
    )


def _height(scope: Scope) -> int:
    return STEP * len(scope.labels) + 70
