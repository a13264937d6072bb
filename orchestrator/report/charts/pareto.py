"""What closeness costs: AG against run time, and the methods that no other beats in both."""

import altair as alt

from orchestrator.report.charts.parts import (
    NO_TRIALS,
    ROUND_TICKS,
    RULE,
    Chart,
    Data,
    Scope,
    above,
    colour,
    gap_y,
    log_axis,
    rows,
    shape,
    tip,
)

HEIGHT = 260


def pareto_chart() -> Chart:
    """AG against run time with the Pareto front."""
    return Chart(
        "Closeness against run time",
        "Down and to the left is better. Joined: the Pareto front, methods that no other beats in both by their means;"
        " what the intervals leave open is in the table. Dashed: the untouched original, which costs nothing.",
        _pareto,
        _shown,
        lambda _scope: HEIGHT + 130,
    )


def _shown(data: Data, _scope: Scope) -> bool:
    return sum(bool(row.get("seconds")) and row.get("ag") is not None for row in _methods(data)) > 1


def _methods(data: Data) -> list[dict[str, object]]:
    return [row for row in data["lines"] if row["role"] == "method"]


def _pareto(scope: Scope) -> alt.TopLevelMixin:
    scale = alt.Scale(type="log", padding=14, nice=False)
    x = alt.X(
        "seconds:Q", scale=scale, axis=log_axis(ROUND_TICKS, grid=False), title="RTE, seconds (logarithmic)"
    )
    y, lines = gap_y(scope, **above()), alt.Chart(rows("lines"))
    methods = lines.transform_filter("datum.role == 'method' && isValid(datum.seconds) && isValid(datum.ag)")
    nothing = lines.transform_filter("datum.role == 'original' && isValid(datum.ag)")
    rule = nothing.mark_rule(color=RULE, strokeDash=[5, 4], strokeWidth=1.5).encode(
        y=y, tooltip=[tip("method", "Method"), tip("ag_text", "AG")]
    )
    front = methods.transform_filter("datum.front").mark_line(
        color=RULE, interpolate="step-after", strokeWidth=1.5
    )
    about = [
        tip("method", "Method"), tip("ag_text", "AG ± 95 % interval"), tip("seconds_text", "RTE, seconds"),
        tip("hyper", "Hyper-parameters"),
    ]  # fmt: skip
    marks = methods.mark_point(size=95, filled=True, opacity=1).encode(
        x=x, y=y, color=colour(scope, True, NO_TRIALS), shape=shape(scope, True, NO_TRIALS), tooltip=about
    )
    return alt.layer(rule, front.encode(x=x, y=y), marks).properties(width="container", height=HEIGHT)
