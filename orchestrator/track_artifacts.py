"""A cell's files in MLflow: the table of its trials, and how its gaps depend on what was searched."""

import csv
import io
import json
from collections.abc import Iterable, Sequence
from typing import Any

from core.metrics.gap import FIGURES
from orchestrator.track_values import gaps
from tasks.record import Record

TABLE, CHART = "trials.csv", "search.svg"
Row = dict[str, Any]
_GAPS = ("ag", *(f"{name}_gap" for name in FIGURES))
# columns and how they are written; seconds are those of the method alone
_COLUMNS = dict.fromkeys(("ag", "ag_validation", *FIGURES, *_GAPS[1:], "seconds"), ".2f") | {
    "epochs": "d", "flip_rate": ".4f", "step_drift": ".4f", "key": "s",
}  # fmt: skip
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
    lines.writerow(["selected", *names, *_COLUMNS])
    for row in rows:
        told = ["" if row.get(name) is None else format(row[name], how) for name, how in _COLUMNS.items()]
        tried = [f"{row['tried'][name]:g}" if name in row["tried"] else "" for name in names]
        lines.writerow(["yes" if row["selected"] else "", *tried, *told])
    return text.getvalue()


def _chart(title: str, rows: Sequence[Row], name: str) -> str:
    """The gaps over a searched value, as SVG; the axis is logarithmic where the value allows it."""
    import altair as alt
    import vl_convert

    points = [
        {"x": row["tried"][name], "gap": row[gap], "figure": figure, "selected": row["selected"]}
        for row in rows
        for figure, gap in zip(_FIGURES, _GAPS, strict=True)
    ]
    logarithmic = all(point["x"] > 0 for point in points)
    axis = f"{name} (log scale)" if logarithmic else name
    x = alt.X(
        "x:Q", title=axis, scale=alt.Scale(type="log" if logarithmic else "linear", nice=False, padding=18)
    )
    colours = alt.Scale(domain=list(_FIGURES), range=list(_FIGURES.values()))
    base = alt.Chart({"values": points}).encode(
        x=x.axis(format="~g", grid=False, labelOverlap="greedy", labelSeparation=8),
        y=alt.Y("gap:Q", title="gap to Retrain (percentage points)"),
        color=alt.Color("figure:N", title=None, sort=None, scale=colours),
    )
    lines = base.mark_line().encode(size=alt.condition("datum.figure == 'AG'", alt.value(3), alt.value(1.5)))
    shapes = alt.Scale(domain=list(_FIGURES), range=list(_SHAPES))
    marks = base.mark_point(filled=True, size=60, opacity=1).encode(
        shape=alt.Shape("figure:N", title=None, sort=None, scale=shapes)
    )
    chosen = alt.Chart({"values": [p for p in points if p["selected"]][:1]}).encode(x=x)
    rule = chosen.mark_rule(color=_INK, strokeDash=[4, 3])
    word = chosen.mark_text(text="selected", y=-7, color=_INK, fontSize=11)
    chart = (rule + word + lines + marks).properties(title=title, width=560, height=300)
    chart = chart.configure_title(anchor="start", offset=18, fontSize=13).configure_view(stroke=None)
    return str(vl_convert.vegalite_to_svg(chart.configure_axis(labelColor=_INK).to_json()))
