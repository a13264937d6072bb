"""A cell's files in MLflow: the table of its trials, and how its gaps depend on what was searched."""

import csv
import io
import json
from collections.abc import Iterable, Sequence
from math import log10
from typing import Any

from core.metrics import FIGURES, METRICS, all_columns
from orchestrator.tracking.run_values import gaps
from tasks import Record

TABLE, CHART = "trials.csv", "search.svg"
Row = dict[str, Any]
_GAPS = ("ag", *(f"{name}_gap" for name in FIGURES))
# AG and the four it is the mean of: colours that stay apart for colour-blind readers, each with its mark
_FIGURES = {"AG": "#1f2933", "FA": "#d55e00", "RA": "#0072b2", "TA": "#009e73", "MIA": "#c06a9c"}
_SHAPES = ("circle", "square", "triangle-up", "diamond", "cross")
_INK = "#3c4650"


def cell_files(
    title: str, cell: Record, trials: Iterable[Record], reference: Record | None
) -> dict[str, str]:
    """Files by name: `trials.csv`, and `search.svg` where a number was searched.

    trials: evaluations; of Retrain and the original itself, because the UI's compare page fails beside runs
    that have no file at all.
    """
    judged = {c.evaluation: c.ag_validation for c in cell.candidates or ()}
    rows = [
        {
            **trial.model_dump(),
            **trial.figures(all_columns()),
            **gaps(trial, reference),
            "ag_validation": judged.get(trial.key),
            "selected": trial.key == cell.selected,
            "tried": _tried(trial),
        }
        for trial in trials
    ]
    rows.sort(key=lambda row: (*row["tried"].values(), row["key"]))
    names = list(dict.fromkeys(name for row in rows for name in row["tried"]))
    files = {TABLE: _table(rows, names)}
    if names and len(rows) > 1 and reference is not None:
        files[CHART] = _chart(title, rows, names[0])
    return files


def _tried(trial: Record) -> dict[str, float]:
    """The searched values of a trial by name, in the search's order."""
    given: Row = json.loads(trial.params) if trial.params else {}
    names = (trial.tried or "").split()[::2]
    return {name: given[name] for name in names if isinstance(given.get(name), int | float)}


def _table(rows: Iterable[Row], names: Sequence[str]) -> str:
    """One line a trial."""
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    columns = _columns()
    lines.writerow(["selected", *names, *columns])
    for row in rows:
        told = ["" if row.get(name) is None else format(row[name], how) for name, how in columns.items()]
        tried = [f"{row['tried'][name]:g}" if name in row["tried"] else "" for name in names]
        lines.writerow(["yes" if row["selected"] else "", *tried, *told])
    return text.getvalue()


def _columns() -> dict[str, str]:
    """The columns, and how they are written: a metric with the decimals that its tables show."""
    ours = dict.fromkeys(("ag", "ag_validation", *FIGURES, *_GAPS[1:]), ".2f")
    others = {
        name: f".{(2 if metric.digits is None else metric.digits) + round(log10(metric.scale))}f"
        for name, metric in METRICS.items()
        if metric.table and metric.reads != "outputs"
    }
    return ours | others | {"epochs": "d", "key": "s"}


def _chart(title: str, rows: Sequence[Row], name: str) -> str:
    """The gaps over a searched value, as SVG; the axis is logarithmic where the value allows it."""
    import vl_convert

    points = [
        {"x": row["tried"][name], "gap": row[gap], "figure": figure}
        for row in rows
        for figure, gap in zip(_FIGURES, _GAPS, strict=True)
    ]
    chosen = [{"x": row["tried"][name]} for row in rows if row["selected"]]
    logarithmic = all(point["x"] > 0 for point in points)
    x = {
        "field": "x",
        "type": "quantitative",
        "title": f"{name} (log scale)" if logarithmic else name,
        "scale": {"type": "log" if logarithmic else "linear", "nice": False, "padding": 18},
        "axis": {"format": "~g", "grid": False, "labelOverlap": "greedy", "labelSeparation": 8},
    }
    rule = {"mark": {"type": "rule", "color": _INK, "strokeDash": [4, 3]}}
    word = {"mark": {"type": "text", "text": "selected", "y": -7, "color": _INK, "fontSize": 11}}
    selected = {"data": {"values": chosen}, "encoding": {"x": x}, "layer": [rule, word]}
    lines = {"data": {"values": points}, "encoding": {"x": x} | _ENCODING, "layer": [_LINE, _MARK]}
    return str(vl_convert.vegalite_to_svg({"title": title, "layer": [selected, lines]} | _FRAME))


# As plain Vega-Lite, because building it anew through altair took longer than drawing it, 192 times in a whole grid.
_ENCODING: Row = {
    "y": {"field": "gap", "type": "quantitative", "title": "gap to Retrain (percentage points)"},
    "color": {
        "field": "figure",
        "type": "nominal",
        "title": None,
        "sort": None,
        "scale": {"domain": list(_FIGURES), "range": list(_FIGURES.values())},
    },
}
_IS_AG = {"test": "datum.figure == 'AG'", "value": 3}
_LINE: Row = {"mark": "line", "encoding": {"size": {"condition": _IS_AG, "value": 1.5}}}
_SHAPE = {"domain": list(_FIGURES), "range": list(_SHAPES)}
_MARK: Row = {
    "mark": {"type": "point", "filled": True, "size": 60, "opacity": 1},
    "encoding": {
        "shape": {"field": "figure", "type": "nominal", "title": None, "sort": None, "scale": _SHAPE}
    },
}
_FRAME: Row = {
    "$schema": "https://vega.github.io/schema/vega-lite/v6.json",
    "width": 560,
    "height": 300,
    "config": {
        "title": {"anchor": "start", "offset": 18, "fontSize": 13},
        "view": {"stroke": None},
        "axis": {"labelColor": _INK},
    },
}
