"""The trade-off: how far forgetting and accuracy on test images lie from Retrain's, a small chart for each method."""

from typing import Any

import altair as alt

from orchestrator.report.charts.parts import (
    FLOOR,
    NO_TRIALS,
    RULE,
    RUN,
    SYMLOG_TICKS,
    Chart,
    Scope,
    above,
    gap_scale,
    rows,
)
from orchestrator.spec import Style

WIDTH, HEIGHT, GUTTER, COLUMNS = 220, 170, 40, 4


def tradeoff_chart() -> Chart:
    """FA against TA, both less Retrain's."""
    return Chart(
        "Trade-off between forgetting and accuracy",
        "Where the dashed lines cross is Retrain. Upwards: forgot less than Retrain; to the left: lost accuracy on test"
        " images. Filled: selected; open: other trials; grey: the other methods'. Both axes are even up to about 1 and"
        " logarithmic beyond.",
        _tradeoff,
        lambda data, _scope: any(row["fa_off"] is not None for row in data["trials"]),
        lambda scope: -(-len(scope.styles(NO_TRIALS)) // COLUMNS) * (HEIGHT + 80) + 30,
        wide=True,
    )


def _tradeoff(scope: Scope) -> alt.TopLevelMixin:
    panels = [_panel(title, style) for title, style in scope.styles(NO_TRIALS).items()]
    return alt.concat(*panels, columns=COLUMNS, spacing=GUTTER)


def _panel(title: str, style: Style) -> Any:
    """One method's trials before those of all others."""
    scale = gap_scale(padding=14)
    x = alt.X("ta_off:Q", scale=scale, axis=_axis(), title="TA less Retrain's, points")
    y = alt.Y("fa_off:Q", scale=scale, axis=_axis(lying=True), title=f"{title}: FA less Retrain's")
    zero = alt.Chart(rows("constants")).mark_rule(color=RULE, strokeDash=[5, 4], strokeWidth=1.5)
    cross = [
        zero.encode(x=alt.X("zero:Q", scale=scale, title=x["title"])),
        zero.encode(y=alt.Y("zero:Q", scale=scale, title=y["title"])),
    ]
    base = alt.Chart(rows("trials")).transform_filter("isValid(datum.fa_off)")
    others = base.transform_filter(f"datum.method != {title!r}").mark_point(size=14, color=FLOOR, opacity=0.4)
    marks = [
        base.transform_filter(f"datum.method == {title!r} && datum.state == '{state}'")
        .mark_point(size=size, filled=filled, opacity=opacity, color=style.colour, shape=style.shape)
        .encode(x=x, y=y, tooltip=list(RUN))
        for state, size, filled, opacity in (("trial", 34, False, 0.9), ("selected", 110, True, 1.0))
    ]
    return alt.layer(*cross, others.encode(x=x, y=y), *marks).properties(width=WIDTH, height=HEIGHT)


def _axis(lying: bool = False) -> alt.Axis:
    ticks = [*(-tick for tick in SYMLOG_TICKS[:0:-1]), *SYMLOG_TICKS]
    signed = "datum.value == 0 ? '0' : format(datum.value, '+~r')"
    apart: dict[str, Any] = {"labelOverlap": "greedy", "labelSeparation": 7} | (above() if lying else {})
    return alt.Axis(values=ticks, labelExpr=signed, **apart)
