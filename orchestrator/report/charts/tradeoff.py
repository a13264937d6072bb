"""The trade-off: how far forgetting and accuracy on test images lie from Retrain's, trial by trial."""

from typing import Any

import altair as alt

from orchestrator.report.charts.parts import (
    RULE,
    RUN,
    SYMLOG_TICKS,
    Chart,
    Scope,
    above,
    colour,
    faded,
    gap_scale,
    picked,
    rows,
    shape,
)

HEIGHT = 300


def tradeoff_chart() -> Chart:
    """FA against TA, both less Retrain's."""
    return Chart(
        "Trade-off between forgetting and accuracy",
        "Where the dashed lines cross is Retrain. Upwards: forgot less than Retrain; to the left: lost accuracy on test"
        " images. Filled: selected; open: other trials. Both axes are even up to about 1 and logarithmic beyond.",
        _tradeoff,
        lambda data, _scope: any(row["fa_off"] is not None for row in data["trials"]),
        lambda _scope: HEIGHT + 120,
    )


def _tradeoff(scope: Scope) -> alt.TopLevelMixin:
    pick, paint, mark = picked(), colour(scope, legend=True), shape(scope, legend=True)
    scale = gap_scale(padding=14)
    x = alt.X("ta_off:Q", scale=scale, axis=_axis(), title="TA less Retrain's, percentage points")
    y = alt.Y("fa_off:Q", scale=scale, axis=_axis(lying=True), title="FA less Retrain's, percentage points")
    zero = alt.Chart(rows("constants")).mark_rule(color=RULE, strokeDash=[5, 4], strokeWidth=1.5)
    cross = [
        zero.encode(x=alt.X("zero:Q", scale=scale, title=x["title"])),
        zero.encode(y=alt.Y("zero:Q", scale=scale, title=y["title"])),
    ]
    base = alt.Chart(rows("trials")).transform_filter("isValid(datum.fa_off)")
    marks = [
        base.transform_filter(f"datum.state == '{state}'")
        .mark_point(size=size, filled=filled)
        .encode(x=x, y=y, color=paint, shape=mark, tooltip=list(RUN), opacity=faded(pick, opacity))
        for state, size, filled, opacity in (("trial", 34, False, 0.8), ("selected", 110, True, 1.0))
    ]
    marks[0] = marks[0].add_params(pick)
    return alt.layer(*cross, *marks).properties(width="container", height=HEIGHT)


def _axis(lying: bool = False) -> alt.Axis:
    ticks = [*(-tick for tick in SYMLOG_TICKS[:0:-1]), *SYMLOG_TICKS]
    signed = "datum.value == 0 ? '0' : format(datum.value, '+~r')"
    apart: dict[str, Any] = {"labelOverlap": "greedy", "labelSeparation": 7} | (above() if lying else {})
    return alt.Axis(values=ticks, labelExpr=signed, **apart)
