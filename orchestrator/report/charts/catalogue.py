"""The charts of the report: Vega-Lite specifications made with Altair, and the rows that they show.

A specification names its data sets and holds no rows, so that one serves every problem of a grid.
"""

from collections.abc import Callable
from typing import Any

from orchestrator.report.charts.by_method import ag_chart, metric_chart, time_chart
from orchestrator.report.charts.epochs import accuracy_chart, loss_chart
from orchestrator.report.charts.gradient_norms import norms_chart, weights_chart
from orchestrator.report.charts.option_series import options_chart
from orchestrator.report.charts.overview import overview_chart
from orchestrator.report.charts.pareto import pareto_chart
from orchestrator.report.charts.parts import Chart, Data, Scope
from orchestrator.report.charts.rows import charted
from orchestrator.report.charts.search import lr_chart, other_chart
from orchestrator.report.charts.tradeoff import tradeoff_chart

__all__ = ["Chart", "Data", "Scope", "charts", "overview_chart", "spec_of"]

# Those of one problem, in the order of the page: between them stands one for each metric that has its own.
_FIRST: dict[str, Callable[[], Chart]] = {
    "ag": ag_chart,
    "pareto": pareto_chart,
    "tradeoff": tradeoff_chart,
    "lr_curves": lr_chart,
    "other_curves": other_chart,
    "options": options_chart,
}
_LAST: dict[str, Callable[[], Chart]] = {
    "time": time_chart,
    "losses": loss_chart,
    "accuracies": accuracy_chart,
    "norms": norms_chart,
    "weights": weights_chart,
}


def charts() -> dict[str, Chart]:
    """The charts of a problem by name, which is also that of their files."""
    first, last = ({name: make() for name, make in part.items()} for part in (_FIRST, _LAST))
    return first | {name: metric_chart(name) for name in charted()} | last


def spec_of(chart: Chart, scope: Scope) -> dict[str, Any]:
    """A chart as Vega-Lite, without rows, colours of the page and addresses.

    `columns` is the number of a legend's columns, which whoever draws the chart sets to what there is room for.
    """
    spec: dict[str, Any] = chart.build(scope).to_dict(validate=False)  # slow; the tests do it
    del spec["$schema"], spec["config"]
    return spec | {"params": [*spec.get("params", []), {"name": "columns", "value": 4}]}
