"""The gradient norms of the selected trials by epoch: the paper's figure 1, and the weights of the two sets."""

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
        "Adaptive Gradient Reweighting's weights in each epoch of the selected trials, means over seeds.",
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
    axis, without = alt.Axis(tickCount=5, **above()), set(scope.labels) - scope.weighted
    paint, mark = colour(scope, True, without), shape(scope, True, without)
    base = (
        alt.Chart(rows("epochs"))
        .transform_fold(["w_forget", "w_retain"], as_=["set", "weight"])
        .transform_filter("isValid(datum.weight)")
    )
    y = alt.Y("weight:Q", axis=axis, title="Weight")
    kinds = alt.Scale(domain=["w_forget", "w_retain"], range=[[1, 0], [5, 4]])
    legend = alt.Legend(orient="bottom", columns=alt.ExprRef("columns"))
    line = base.mark_line(strokeWidth=1.8).encode(
        x=_x(), y=alt.Y("mean(weight):Q", axis=axis, title="Weight"), color=paint,
        strokeDash=alt.StrokeDash("set:N", scale=kinds, title="Weight of", legend=legend),
        detail="set:N",
    )  # fmt: skip
    about = [
        tip("method", "Method"), tip("set", "Weight of"), tip("epoch", "Epoch"), tip("seed", "Seed"),
        tip("weight", "Weight", ".3g"), tip("key", "Key"),
    ]  # fmt: skip
    marks = base.mark_point(size=26, filled=True, opacity=0.8).encode(
        x=_x(), y=y, color=paint, shape=mark, tooltip=about
    )
    return alt.layer(line, marks).properties(width="container", height=PANEL)
