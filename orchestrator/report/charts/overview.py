"""The average gap of every method on every problem at a glance."""

import altair as alt

from orchestrator.report.charts.parts import (
    FLOOR,
    GAP_TITLE,
    NO_TRIALS,
    Chart,
    Scope,
    above,
    colour,
    faded,
    gap_x,
    picked,
    rows,
    shape,
    tip,
)

LINE, MARK = 44, 9  # pixels of a problem's line at least, and of each method's mark within it


def overview_chart() -> Chart:
    """A line for each problem, a mark on it for each method."""
    return Chart(
        "Average gap on every problem",
        "Further left is closer to Retrain; shaded: the noise floor, where there is one. Where gaps lie far apart, the"
        " axis is logarithmic beyond 1. A click on a mark leads to its table, one in the legend picks out a method.",
        _overview,
        lambda data, _scope: bool(data["problems"]),
        lambda scope: _line(scope) * scope.problems + 120,
        wide=True,
    )


def _overview(scope: Scope) -> alt.TopLevelMixin:
    pick = picked()
    x = gap_x(scope)
    axis = alt.Axis(
        title="Problem", labelExpr="split(datum.label, '\\n')", labelLimit=190, ticks=False, domain=False, grid=True,
        **above(-8, "right"),
    )  # fmt: skip
    y = alt.Y("problem:N", sort=alt.EncodingSortField("order", op="min"), axis=axis)
    floor = alt.Chart(rows("floors")).mark_bar(color=FLOOR, opacity=0.25, height=_line(scope) * 3 // 4)
    said = tip("floor", "Noise floor: AG", ".2f")
    edge = alt.X("floor:Q", scale=x["scale"], title=GAP_TITLE)
    floors = floor.encode(x=edge, x2=alt.value(0), y=y, tooltip=said)
    about = [
        tip("method", "Method"), tip("ag", "AG, points", ".2f"), tip("ag_text", "Mean ± 95 % interval"),
        tip("problem", "Problem"),
    ]  # fmt: skip
    offset = alt.YOffset("method:N", scale=alt.Scale(domain=list(scope.styles(NO_TRIALS))))
    marks = (
        alt.Chart(rows("problems"))
        .mark_point(size=85, filled=True)
        .encode(
            x=x, y=y, yOffset=offset, color=colour(scope, legend=True), shape=shape(scope, legend=True), tooltip=about,
            opacity=faded(pick, 0.9), href="table:N",
        )
        .add_params(pick)
    )  # fmt: skip
    return alt.layer(floors, marks).properties(width="container", height=_line(scope) * scope.problems)


def _line(scope: Scope) -> int:
    """Pixels of a problem's line, in which every method has a height of its own: none hides another."""
    return max(LINE, MARK * len(scope.styles(NO_TRIALS)))
