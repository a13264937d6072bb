"""The average gap of every method on every problem at a glance."""

import altair as alt

from orchestrator.report.charts.parts import (
    FLOOR,
    GAP_TITLE,
    Chart,
    Scope,
    above,
    colour,
    faded,
    gap_axis,
    gap_scale,
    picked,
    rows,
    shape,
    tip,
)

LINE = 44  # pixels of a problem's line


def overview_chart() -> Chart:
    """A line for each problem, a mark on it for each method."""
    return Chart(
        "Average gap on every problem",
        "Further left is closer to Retrain; shaded: the noise floor, where there is one. The axis is even up to about 1"
        " and logarithmic beyond. A click on a mark leads to its table, a click in the legend picks out a method.",
        _overview,
        lambda data, _scope: bool(data["problems"]),
        lambda scope: LINE * scope.problems + 120,
        wide=True,
    )


def _overview(scope: Scope) -> alt.TopLevelMixin:
    pick = picked()
    x = alt.X("ag:Q", scale=gap_scale(zero=True, padding=10), axis=gap_axis(), title=GAP_TITLE)
    axis = alt.Axis(
        title="Problem", labelExpr="split(datum.label, '\\n')", labelLimit=190, ticks=False, domain=False, grid=True,
        **above(-8, "right"),
    )  # fmt: skip
    y = alt.Y("problem:N", sort=alt.EncodingSortField("order", op="min"), axis=axis)
    floor = alt.Chart(rows("floors")).mark_bar(color=FLOOR, opacity=0.25, height=LINE // 2)
    said = tip("floor", "Noise floor: AG", ".2f")
    floors = floor.encode(x="zero:Q", x2="floor:Q", y=y, tooltip=said)
    about = [
        tip("method", "Method"), tip("ag", "AG, points", ".2f"), tip("ag_text", "Mean ± 95 % interval"),
        tip("problem", "Problem"),
    ]  # fmt: skip
    marks = (
        alt.Chart(rows("problems"))
        .mark_point(size=85, filled=True)
        .encode(
            x=x, y=y, color=colour(scope, legend=True), shape=shape(scope, legend=True), tooltip=about,
            opacity=faded(pick, 0.9), href="table:N",
        )
        .add_params(pick)
    )  # fmt: skip
    return alt.layer(floors, marks).properties(width="container", height=LINE * scope.problems)
