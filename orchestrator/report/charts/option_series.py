"""Figures of a method's variants against the one option in which they differ."""

from dataclasses import replace
from typing import Any

import altair as alt

from orchestrator.report.charts.parts import (
    PANEL,
    ROUND_TICKS,
    RULE,
    Along,
    Chart,
    Scope,
    above,
    colour,
    dash,
    log_axis,
    rows,
    tip,
)
from orchestrator.report.charts.search import GUTTER, WIDTH

TITLES = {"ta": "TA, %", "fa": "FA, %", "ef": "E_F, %", "stored": "Recorded, MB"}
A_R = "A_R (TA), %"  # as class-wise forgetting calls it
SAID = -28  # pixels above a panel, where the levels stand in words


def options_chart() -> Chart:
    """Accuracy, forgetting and storage against each option that a method's variants differ in."""
    return Chart(
        "Figures against one option",
        "Variants that differ in one option alone. Lines and large marks: means over seeds; small marks: seeds. Grey:"
        " Retrain, dashed, and the original that each variant changed, dotted. Recorded: what the original's training"
        " kept for the method. options.csv has every number.",
        _options,
        lambda data, _scope: bool(data["options"]),
        lambda scope: len(scope.along) * (PANEL + 170),
        wide=True,
    )


def _options(scope: Scope) -> alt.TopLevelMixin:
    lines = [_line(scope, along) for along in scope.along]
    apart: Any = dict.fromkeys(("color", "strokeDash"), "independent")
    return alt.vconcat(*lines, spacing=GUTTER).resolve_scale(**apart)


def _line(scope: Scope, along: Along) -> Any:
    """The panels of one option side by side; they share a legend."""
    figures = ["ta", "ef" if scope.class_wise else "fa", *(["stored"] if along.stored else [])]
    width = (WIDTH - (len(figures) - 1) * (GUTTER + 40)) // len(figures)
    panels = [_panel(scope, along, figure).properties(width=width, height=PANEL) for figure in figures]
    return alt.concat(*panels, columns=len(panels), spacing=GUTTER)


def _panel(scope: Scope, along: Along, figure: str) -> Any:
    x, y, (paint, dashes) = _x(along), _y(scope, along, figure), _style(scope, along)
    here = f"datum.along == '{along.name}'"
    base = alt.Chart(rows("options")).transform_filter(f"{here} && isValid(datum.{figure})")
    if figure == "stored" and along.log:
        base = base.transform_filter("datum.stored > 0")
    means, seeds = (base.transform_filter(f"datum.state == '{state}'") for state in ("mean", "seed"))
    line = means.mark_line(strokeWidth=1.8).encode(x=x, y=y, color=paint, strokeDash=dashes)
    points = {"x": x, "y": y, "color": paint}
    small = seeds.mark_point(size=20, opacity=0.55).encode(**points, tooltip=_about(scope, along))
    large = means.mark_point(size=75, filled=True, opacity=1)
    behind = [] if figure == "stored" else _levels(here, figure, x, y)
    return alt.layer(*behind, line, small, large.encode(**points, tooltip=_about(scope, along, mean=True)))


def _style(scope: Scope, along: Along) -> tuple[alt.Color, alt.StrokeDash]:
    """Colour and dashes of a line: those of the variant with its options alone, which need not be in the grid.

    The legend shows pieces of the lines; points, each a variant of its own, have one mark, or none would stand out.
    """
    named = replace(scope, labels=tuple(dict.fromkeys((*scope.labels, *along.labels))))
    without = set(named.labels) - set(along.labels)
    piece: Any = {
        "orient": "bottom", "columns": alt.ExprRef("columns"), "symbolType": "stroke", "symbolSize": 900,
        "symbolOpacity": 1, "symbolStrokeWidth": 1.8,
    }  # fmt: skip
    return colour(named, True, without).legend(**piece), dash(named, True, without).legend(**piece)


def _levels(here: str, figure: str, x: alt.X, y: alt.Y) -> list[Any]:
    """Retrain's mean as a dashed line, the originals' as dotted ones, and both in words above."""
    before = f"{figure}_before"
    original = (
        alt.Chart(rows("options"))
        .transform_filter(f"{here} && datum.state == 'mean' && isValid(datum.{before})")
        .mark_line(color=RULE, strokeDash=[1.5, 3], strokeWidth=1.8)
        .encode(
            x=x, y=alt.Y(f"{before}:Q", scale=y["scale"], axis=y["axis"], title=y["title"]), detail="method:N"
        )
    )
    retrain = alt.Chart(rows("retrain")).mark_rule(color=RULE, strokeDash=[5, 4], strokeWidth=1.5).encode(y=y)
    said = alt.Chart(rows("levels")).transform_filter(here).mark_text(align="left", baseline="bottom")
    return [original, retrain, said.encode(x=alt.value(-40), y=alt.value(SAID), text=f"{figure}:N")]


def _x(along: Along) -> alt.X:
    name = along.name.replace("_", " ") + ", measured" * along.measured
    if along.log:
        axis, scale = log_axis(ROUND_TICKS, grid=False), alt.Scale(type="log", nice=False, padding=14)
        return alt.X("at:Q", scale=scale, axis=axis, title=f"{name} (logarithmic)")
    axis = alt.Axis(labelOverlap=True, grid=False, tickCount=5)
    return alt.X("at:Q", scale=alt.Scale(zero=False, nice=False, padding=14), axis=axis, title=name)


def _y(scope: Scope, along: Along, figure: str) -> alt.Y:
    title = A_R if figure == "ta" and scope.class_wise else TITLES[figure]
    if figure == "stored" and along.log:
        scale, axis = alt.Scale(type="log", nice=False, padding=8), log_axis(ROUND_TICKS, **above())
        return alt.Y("stored:Q", scale=scale, axis=axis, title=f"{title} (logarithmic)")
    stored = figure == "stored"
    scale = alt.Scale(zero=stored, nice=True, padding=0 if stored else 8)
    return alt.Y(f"{figure}:Q", scale=scale, axis=alt.Axis(tickCount=5, **above()), title=title)


def _about(scope: Scope, along: Along, mean: bool = False) -> list[alt.Tooltip]:
    names = ("ta", "fa", *(["ef"] if scope.class_wise else []))
    figures = [
        tip(f"{name}_text", f"{TITLES[name]}") if mean else tip(name, TITLES[name], ".2f") for name in names
    ]
    return [
        tip("variant", "Method"),
        tip("seeds", "Seeds") if mean else tip("seed", "Seed"),
        tip("at", along.name.replace("_", " "), ".3~g"),
        *figures,
        tip("ta_before", "TA of its original, %", ".2f"),
        *([tip("stored", TITLES["stored"], ".4~g")] if along.stored else []),
        *([] if mean else [tip("key", "Key")]),
    ]
