"""Pages of the MLflow UI that read well at once: which columns, which order, which charts.

The UI keeps what its Share button makes in tags of the experiment; these are two such tags.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from core.metrics import FIGURES
from orchestrator.spec import GridSpec
from orchestrator.tracking.notes import NOTE, experiment_note

_SHARED = "mlflow.sharedViewState."
# Without them MLflow 3 opens on its pages for language-model traces.
_KIND, _TRAINING = {"mlflow.experimentKind": "custom_model_development"}, "workflowType=machine_learning"
_GAPS = tuple(f"{name}_gap" for name in FIGURES)
_SECTION = "comparison"
_SHOWN, _NAME = ("ag", *FIGURES, "seconds"), "attributes.`Run Name`"


def about(spec: GridSpec) -> dict[str, str]:
    """The experiment's tags: its note and its views."""
    views = {f"{_SHARED}{name}": json.dumps(view, sort_keys=True) for name, view in VIEWS.items()}
    return {NOTE: experiment_note(spec)} | _KIND | views


def _chart(kind: str, name: str, **settings: Any) -> dict[str, Any]:
    identity = {"type": kind, "uuid": name, "displayName": name, "metricSectionId": _SECTION}
    shown = {"deleted": False, "isGenerated": False, "runsCountToCompare": 100}
    return identity | shown | settings


def _scatter(name: str, x: Mapping[str, str], y: Mapping[str, str]) -> dict[str, Any]:
    return _chart("SCATTER", name, xaxis=dict(x), yaxis=dict(y))


def _line(name: str, metric: str) -> dict[str, Any]:
    return _chart(
        "LINE", name, metricKey=metric, selectedMetricKeys=[metric], xAxisKey="step", scaleType="linear"
    )


_AG, _LR, _RTE = (
    {"key": "ag", "type": "METRIC"}, {"key": "lr", "type": "PARAM"}, {"key": "seconds", "type": "METRIC"},
)  # fmt: skip
_CHARTS = [
    _scatter("AG over lr", _LR, _AG),
    _chart(
        "PARALLEL", "lr and gaps", selectedParams=["lr"], selectedMetrics=[*_GAPS, "ag"], showAllRuns=True
    ),
    _scatter("AG over run time (seconds)", _RTE, _AG),
    _line("loss", "epoch/loss"),
    _line("RA on a sample", "epoch/retain_accuracy"),
    _line("w_forget", "epoch/w_forget"),
]


def _view(query: str, *tags: str) -> dict[str, Any]:
    """A table of the runs a query finds, the best first, and the charts of them."""
    columns = [*(f"metrics.`{name}`" for name in _SHOWN), "params.`lr`", *(f"tags.`{tag}`" for tag in tags)]
    section = {"uuid": _SECTION, "name": "Comparison", "display": True, "isReordered": False}
    return {
        "searchFilter": query,
        "orderByKey": "metrics.`ag`",
        "orderByAsc": True,
        "selectedColumns": columns,
        "columnOrder": [_NAME, *columns, "runDateAndNestInfo", "duration"],
        "columnWidths": {_NAME: 340}
        | dict.fromkeys(columns, 88)
        | {"runDateAndNestInfo": 150, "duration": 80},
        "runsHiddenMode": "SHOW_ALL",
        "compareRunCharts": _CHARTS,
        "compareRunSections": [section | {"deleted": False, "isGenerated": False}],
    }


VIEWS = {
    "cells": _view("tags.kind = 'cell'", "method"),
    "trials": _view("tags.kind = 'trial'", "method", "selected"),
}


def page(address: str, experiment: str, view: str, charts: bool = False) -> str:
    """The address of the experiment's runs in one of VIEWS, as a table or as charts."""
    mode = "&compareRunsMode=CHART" if charts else ""
    return f"{address}/#/experiments/{experiment}/runs?{_TRAINING}&viewStateShareKey={view}{mode}"


def run_page(address: str, experiment: str, run: str) -> str:
    """The address of one run."""
    return f"{address}/#/experiments/{experiment}/runs/{run}?{_TRAINING}"


def compare_page(address: str, experiment: str, runs: Sequence[str]) -> str:
    """The address of the page that lays runs side by side."""
    chosen, where = (quote(json.dumps(list(ids), separators=(",", ":"))) for ids in (runs, [experiment]))
    # the page finds its runs only where they come first
    return f"{address}/#/compare-runs?runs={chosen}&experiments={where}&{_TRAINING}"
