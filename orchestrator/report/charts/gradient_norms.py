"""The gradient norms of the selected trials by epoch: the paper's figure 1, and the weights of the two sets."""

from typing import Any

import altair as alt

from orchestrator.report.charts.parts import (
    PANEL,
    ROUND_TICKS,
    RULE,
    Chart,
    Data,
    Rows,
    Scope,
    above,
    colour,
    dash,
    faded,
    log_axis,
    picked,
    rows,
    shape,
    tip,
)

GUTTER, HALF = 40, 230  # pixels between panels, and of one beside another
SETS = {"w_forget": "Weight of the forget set", "w_retain": "Weight of the retain set"}


def norms_chart() -> Chart:
    """Norm of the gradient on the forget set over that on the retain set, before each epoch."""
    return Chart(
        "Gradient norms, forget / retain",
        "Norm of the gradient on the forget set over that on the retain set, before each epoch, in the selected trials."
        " Lines: means over seeds. Dashed: equal norms. gradient_norms.csv has every number.",
        _ratio,
        lambda data, _scope: bool(_measured(data, "ratio")),
        lambda _scope: PANEL + 120,
    )


def weights_chart() -> Chart:
    """The weights that a method gives the two sets, by epoch."""
    return Chart(
        "Weights of forget and retain set",
        "Adaptive Gradient Reweighting's weights in each epoch of the selected trials, means over seeds; each set on an"
        " axis of its own, for one may be a thousandth of the other.",
        _weights,
        lambda data, _scope: bool(_measured(data, "w_forget")),
        lambda _scope: PANEL + 120,
    )


def _measured(data: Data, name: str) -> Rows:
    return [row for row in data["epochs"] if row[name] is not None]


def _x() -> alt.X:
    scale = alt.Scale(zero=False, nice=False, padding=10)
    whole = "datum.value % 1 == 0 ? format(datum.value, 'd') : ''"  # the least step alone lets 1.5 through
    axis = alt.Axis(tickMinStep=1, labelExpr=whole, grid=False)
    return alt.X("epoch:Q", axis=axis, title="Epoch", scale=scale)


def _ratio(scope: Scope) -> alt.TopLevelMixin:
    pick, without = picked(), set(scope.labels) - scope.measured
    paint, mark = colour(scope, True, without), shape(scope, True, without)
    scale = alt.Scale(type="log", nice=False, padding=10)
    axis = log_axis(ROUND_TICKS, **above())
    title = "Ratio of norms (logarithmic)"
    base = alt.Chart(rows("epochs")).transform_filter("datum.ratio > 0")
    y = alt.Y("ratio:Q", scale=scale, axis=axis, title=title)
    line = base.mark_line(strokeWidth=1.8).encode(
        x=_x(), y=alt.Y("mean(ratio):Q", scale=scale, axis=axis, title=title), color=paint,
        strokeDash=dash(scope, True, without), opacity=faded(pick, 0.9),
    )  # fmt: skip
    about = [
        tip("method", "Method"), tip("epoch", "Epoch"), tip("seed", "Seed"), tip("ratio", "Ratio", ".3g"),
        tip("forget_gradient_norm", "Norm, forget", ".3g"), tip("retain_gradient_norm", "Norm, retain", ".3g"),
        tip("key", "Key"),
    ]  # fmt: skip
    marks = base.mark_point(size=26, filled=True).encode(
        x=_x(), y=y, color=paint, shape=mark, tooltip=about,
        opacity=faded(pick, 0.8),
    )  # fmt: skip
    one = alt.Chart(rows("constants")).mark_rule(color=RULE, strokeDash=[5, 4])
    even = one.encode(y=alt.Y("one:Q", scale=scale, axis=axis, title=title))
    return alt.layer(even, line, marks.add_params(pick)).properties(width="container", height=PANEL)


def _weights(scope: Scope) -> alt.TopLevelMixin:
    panels = [_weight(scope, name, title) for name, title in SETS.items()]
    return alt.concat(*panels, columns=len(panels), spacing=GUTTER)


def _weight(scope: Scope, name: str, title: str) -> Any:
    """The weight of one set by epoch."""
    without = set(scope.labels) - scope.weighted
    paint, mark = colour(scope, True, without), shape(scope, True, without)
    axis, scale = alt.Axis(tickCount=5, **above()), alt.Scale(zero=False, nice=True, padding=6)
    base = alt.Chart(rows("epochs")).transform_filter(f"isValid(datum.{name})")
    line = base.mark_line(strokeWidth=1.8).encode(
        x=_x(), y=alt.Y(f"mean({name}):Q", axis=axis, scale=scale, title=title), color=paint,
        strokeDash=dash(scope, True, without),
    )  # fmt: skip
    about = [
        tip("method", "Method"), tip("epoch", "Epoch"), tip("seed", "Seed"), tip(name, title, ".3g"), tip("key", "Key"),
    ]  # fmt: skip
    marks = base.mark_point(size=26, filled=True, opacity=0.8).encode(
        x=_x(),
        y=alt.Y(f"{name}:Q", axis=axis, scale=scale, title=title),
        color=paint,
        shape=mark,
        tooltip=about,
    )
    return alt.layer(line, marks).properties(width=HALF, height=PANEL)
