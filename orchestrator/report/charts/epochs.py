"""The selected trials epoch by epoch."""

from typing import Any

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
    scale = alt.Scale(type="log", nice=False, padding=8)
    return _chart(
        "Loss, epoch by epoch",
        "Mean loss of each epoch in the selected trials, as the method itself defines it: compare its course, not its"
        " height. Losses that are not positive, as when they are ascended, are left out.",
        "loss",
        {"scale": scale, "axis": log_axis(ROUND_TICKS, **above()), "title": "Loss (logarithmic)"},
        tip("value", "Mean loss", ".3g"),
    )


def accuracy_chart() -> Chart:
    """The accuracy on a sample of the retain set, epoch by epoch."""
    scale = alt.Scale(zero=False, nice=True, padding=8)
    return _chart(
        "RA on a sample, epoch by epoch",
        "Accuracy on a tenth of the retain set, 64 to 512 images, after each epoch of the selected trials: what a"
        " method breaks on its way, and whether it has mended it at its end.",
        "retain_accuracy",
        {"scale": scale, "axis": alt.Axis(tickCount=5, **above()), "title": "RA on a sample, %"},
        tip("value", "RA on a sample, %", ".2f"),
    )


def _chart(title: str, about: str, fact: str, along: dict[str, Any], said: alt.Tooltip) -> Chart:
    """A fact of the selected trials by epoch. along: the vertical axis. said: the fact in a tooltip."""
    return Chart(
        title,
        f"{about} Thick: means over seeds; thin: seeds. A click in the legend picks out a method.",
        lambda scope: _lines(scope, fact, along, said),
        lambda data, _scope: len({row["epoch"] for row in data["curves"] if row["fact"] == fact}) > 1,
        lambda _scope: PANEL + 130,
    )


def _lines(scope: Scope, fact: str, along: dict[str, Any], said: alt.Tooltip) -> alt.TopLevelMixin:
    pick, paint, dashes = picked(), colour(scope, True), dash(scope, True)
    whole = alt.Axis(tickMinStep=1, format="d", grid=False)
    x = alt.X("epoch:Q", axis=whole, scale=alt.Scale(zero=False, nice=False, padding=10), title="Epoch")
    y = alt.Y("value:Q", **along)
    base = alt.Chart(rows("curves")).transform_filter(f"datum.fact == '{fact}'")
    seeds = base.mark_line(strokeWidth=0.8).encode(
        x=x, y=y, color=paint, detail="seed:N", opacity=faded(pick, 0.45)
    )
    means = (
        base.transform_aggregate(value="mean(value)", groupby=["method", "epoch"])
        .mark_line(strokeWidth=2, point=alt.OverlayMarkDef(size=22))
        .encode(
            x=x, y=y, color=paint, strokeDash=dashes, opacity=faded(pick, 1.0),
            tooltip=[tip("method", "Method"), tip("epoch", "Epoch"), said],
        )
    )  # fmt: skip
    return alt.layer(seeds, means.add_params(pick)).properties(width="container", height=PANEL)
