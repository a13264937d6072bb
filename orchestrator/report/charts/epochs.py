"""The selected trials epoch by epoch."""

import altair as alt

from orchestrator.report.charts.parts import (
    PANEL,
    ROUND_TICKS,
    Chart,
    Scope,
    above,
    colour,
    dash,
    faded,
    log_axis,
    picked,
    rows,
    tip,
)


def loss_chart() -> Chart:
    """The loss of every method, epoch by epoch."""
    return Chart(
        "Loss, epoch by epoch",
        "Mean loss of each epoch in the selected trials, as the method itself defines it: compare its course, not its"
        " height. Thick: means over seeds; thin: seeds. Losses that are not positive, as when they are ascended, are"
        " left out. A click in the legend picks out a method.",
        _loss,
        lambda data, _scope: len({row["epoch"] for row in data["losses"]}) > 1,
        lambda _scope: PANEL + 130,
    )


def _loss(scope: Scope) -> alt.TopLevelMixin:
    pick, paint, dashes = picked(), colour(scope, True), dash(scope, True)
    scale = alt.Scale(type="log", nice=False, padding=8)
    axis, whole = log_axis(ROUND_TICKS, **above()), alt.Axis(tickMinStep=1, format="d", grid=False)
    x = alt.X("epoch:Q", axis=whole, scale=alt.Scale(zero=False, nice=False, padding=10), title="Epoch")
    base = alt.Chart(rows("losses"))
    seeds = base.mark_line(strokeWidth=0.8).encode(
        x=x, y=alt.Y("loss:Q", scale=scale, axis=axis, title="Loss (logarithmic)"), color=paint, detail="seed:N",
        opacity=faded(pick, 0.45),
    )  # fmt: skip
    about = [tip("method", "Method"), tip("epoch", "Epoch"), tip("loss", "Mean loss", ".3g")]
    means = (
        base.transform_aggregate(loss="mean(loss)", groupby=["method", "epoch"])
        .mark_line(strokeWidth=2, point=alt.OverlayMarkDef(size=22))
        .encode(
            x=x, y=alt.Y("loss:Q", scale=scale, axis=axis, title="Loss (logarithmic)"), color=paint,
            strokeDash=dashes, opacity=faded(pick, 1.0), tooltip=about,
        )
    )  # fmt: skip
    return alt.layer(seeds, means.add_params(pick)).properties(width="container", height=PANEL)
