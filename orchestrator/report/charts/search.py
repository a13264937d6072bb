"""Figures of every trial against what was searched: the learning rate, and each other hyper-parameter by itself."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt

from orchestrator.report.charts.parts import (
    FLOOR,
    GAP_TITLE,
    NO_TRIALS,
    PANEL,
    POWERS,
    ROUND_TICKS,
    RULE,
    RUN,
    Chart,
    Data,
    Scale,
    Scope,
    above,
    colour,
    dash,
    faded,
    gap_y,
    log_axis,
    picked,
    rows,
    shape,
    tip,
)
from orchestrator.spec import Style, titles

WIDTH, GUTTER = 1000, 40  # pixels of a file; the page fits panels to its own width
MAIN = "lr"  # the hyper-parameter that most methods search
PARTS = ("fa", "ra", "ta", "mia")
MARKED = (
    "Lines go through the means over seeds. Filled: selected. Ringed: selected at an end of its range. Where gaps lie"
    " far apart, AG's axis is logarithmic beyond 1."
)
# a trial's state, and the size, filling and opacity of its mark
SELECTED = ("selected", 85, True, 1.0)
STATES = (("part", 16, False, 0.5), ("trial", 42, False, 0.8), SELECTED)
SMALL, ACROSS = 150, 4  # pixels of a method's own panel's height, and how many stand beside each other


def lr_chart() -> Chart:
    """AG and its four parts against the learning rate, all methods in one; below, every trial, method by method."""
    return Chart(
        "Search over the learning rate",
        f"{MARKED} Above, all methods; dashed: Retrain; a click in the legend picks out a method, a double click brings"
        " back all. Below, each method by itself with every trial as a mark, on one axis of AG; dashed: the original,"
        " which is what doing nothing comes to; shaded: the noise floor, where there is one.",
        _lr,
        lambda data, _scope: _distinct(data, MAIN) > 1,
        lambda scope: 2 * PANEL + 190 + -(-len(_searching(scope)) // ACROSS) * (SMALL + 80),
        wide=True,
    )


def other_chart() -> Chart:
    """AG against every searched hyper-parameter that is no learning rate; each has its own axis."""
    return Chart(
        "Search over other hyper-parameters",
        f"Every trial is a mark. {MARKED} Where a method's learning rate was searched too, both changed from trial to"
        " trial.",
        _others,
        lambda data, scope: any(_distinct(data, name) > 1 for name in _others_of(scope)),
        lambda _scope: PANEL + 100,
        wide=True,
    )


def _distinct(data: Data, name: str) -> int:
    """Distinct values of a hyper-parameter in a method's trials, at most."""
    found: dict[str, set[Any]] = {}
    for row in data["trials"]:
        if row.get(name) is not None:
            found.setdefault(row["method"], set()).add(row[name])
    return max(map(len, found.values()), default=0)


def _others_of(scope: Scope) -> set[str]:
    return {name for names in scope.searched.values() for name in names} - {MAIN}


def _unsearched(scope: Scope, parameter: str) -> set[str]:
    """The labels of which a hyper-parameter was not searched."""
    return {label for label in scope.labels if parameter not in scope.searched.get(label, ())}


@dataclass(frozen=True)
class Axis:
    """What a panel has along its horizontal axis. method: the only one to show; None for all that searched it."""

    parameter: str
    title: str
    scale: Scale = "log"
    method: str | None = None

    @property
    def kept(self) -> str:
        """Vega's test of a trial that belongs on it."""
        only = f" && datum.method == {self.method!r}" if self.method else ""
        return f"isValid(datum.{self.parameter}){only}"

    @property
    def x(self) -> alt.X:
        """The encoding."""
        if self.scale == "named":
            return alt.X(f"{self.parameter}:N", title=self.title, axis=alt.Axis(labelAngle=0, grid=False))
        if self.scale == "log":
            axis = log_axis(POWERS if self.parameter == MAIN else ROUND_TICKS, grid=False)
            scale = alt.Scale(type="log", nice=False, padding=14)
        else:
            axis = alt.Axis(labelOverlap=True, grid=False, tickCount=5)
            scale = alt.Scale(zero=False, nice=False, padding=14)
        return alt.X(f"{self.parameter}:Q", scale=scale, axis=axis, title=self.title)


# Scales of their own: one shared with a panel that has a legend would have one, and none.
WITHOUT_LEGEND: Any = dict.fromkeys(("color", "shape", "strokeDash"), "independent")


def _searching(scope: Scope) -> dict[str, Style]:
    """The methods whose learning rate was searched, by title."""
    return scope.styles(_unsearched(scope, MAIN))


def _lr(scope: Scope) -> alt.TopLevelMixin:
    pick, along = picked(), Axis(MAIN, "lr (logarithmic)")
    main = _panel(scope, "ag", along, pick, (SELECTED,)).properties(width=WIDTH, height=PANEL)
    parts = [_panel(scope, name, along, pick, (SELECTED,)) for name in PARTS]
    sized = [part.properties(width=_share(4), height=PANEL * 2 // 3) for part in parts]
    own = [_own(scope, title).properties(width=_share(ACROSS), height=SMALL) for title in _searching(scope)]
    return alt.vconcat(
        main,
        alt.concat(*sized, columns=4, spacing=GUTTER),
        alt.concat(*own, columns=ACROSS, spacing=GUTTER).resolve_scale(y="shared", **WITHOUT_LEGEND),
        spacing=GUTTER,
    )


def _own(scope: Scope, title: str) -> Any:
    """AG of one method's trials against the learning rate, over the noise floor and the untouched original."""
    heading = f"{title}: AG"
    along = {name: gap_y(scope, **above())[name] for name in ("scale", "axis")} | {"title": heading}
    floor = alt.Chart(rows("floor")).mark_rect(color=FLOOR, opacity=0.22)
    nothing = alt.Chart(rows("lines")).transform_filter("datum.role == 'original' && isValid(datum.ag)")
    rule = nothing.mark_rule(color=RULE, strokeDash=[5, 4], strokeWidth=1.5)
    behind = [
        floor.encode(y=alt.Y("floor:Q", **along), y2=alt.value(SMALL), tooltip=tip("text", "Floor")),
        rule.encode(y=alt.Y("ag:Q", **along), tooltip=[tip("method", "Method"), tip("ag_text", "AG")]),
    ]
    axis = Axis(MAIN, "lr (logarithmic)", method=title)
    return _panel(scope, "ag", axis, None, heading=heading, behind=behind)


def _others(scope: Scope) -> alt.TopLevelMixin:
    panels = [
        _panel(
            scope,
            "ag",
            Axis(name, f"{method}: {name}{' (logarithmic)' * (scale == 'log')}", scale, method),
            None,
        )
        for method, names in ((titles.title(label), names) for label, names in scope.searched.items())
        for name, scale in names.items()
        if name != MAIN
    ]
    sized = [panel.properties(width=_share(3), height=PANEL) for panel in panels]
    return alt.concat(*sized, columns=3, spacing=GUTTER)


def _share(columns: int) -> int:
    """The width of one of several panels side by side; each but the first has an axis beside it."""
    return (WIDTH - (columns - 1) * (GUTTER + 40)) // columns


def _panel(
    scope: Scope,
    figure: str,
    along: Axis,
    pick: alt.Parameter | None,
    states: Sequence[tuple[str, int, bool, float]] = STATES,
    heading: str = "",
    behind: Sequence[Any] = (),
) -> Any:
    """One figure of the trials against one hyper-parameter.

    pick: of a panel with a legend. states: the trials that are marks. heading: of the vertical axis. behind: layers
    beneath the marks.
    """
    x, y, legend = along.x, _y(scope, figure, heading), pick is not None
    without = _unsearched(scope, MAIN) if along.parameter == MAIN else set(NO_TRIALS)
    paint, mark = colour(scope, legend, without), shape(scope, legend, without)
    base = alt.Chart(rows("trials")).transform_filter(along.kept)
    mean = alt.Y(f"mean({figure}):Q", scale=y["scale"], axis=y["axis"], title=y["title"])
    line = base.transform_filter("datum.state != 'part'").mark_line(strokeWidth=1.6)
    drawn = line.encode(x=x, y=mean, color=paint, strokeDash=dash(scope, legend, without), **_seen(pick, 0.9))
    marks = [
        base.transform_filter(f"datum.state == '{state}'")
        .mark_point(size=size, filled=filled)
        .encode(x=x, y=y, color=paint, shape=mark, tooltip=list(RUN), **_seen(pick, opacity))
        for state, size, filled, opacity in states
    ]
    at_end = f"indexof(split(datum.edges, ' '), '{along.parameter}') >= 0"
    ring = base.transform_filter(at_end).mark_point(shape="circle", size=260, strokeWidth=1.6)
    layers: list[Any] = [
        *behind,
        *_retrain(figure, y),
        *([] if along.scale == "named" else [drawn]),  # between words there is nothing
        *marks,
        ring.encode(x=x, y=y, color=paint, **_seen(pick, 1)),
    ]
    if pick is not None and figure == "ag":
        layers[0] = layers[0].add_params(pick)
    return alt.layer(*layers)


def _seen(pick: alt.Parameter | None, opacity: float) -> dict[str, Any]:
    return {"opacity": alt.OpacityValue(opacity) if pick is None else faded(pick, opacity)}


def _y(scope: Scope, figure: str, heading: str) -> alt.Y:
    if figure == "ag":
        found = gap_y(scope, **above())
        found["title"] = heading or GAP_TITLE
        return found
    axis = alt.Axis(tickCount=4, **above())
    scale = alt.Scale(zero=False, nice=True, padding=8)
    return alt.Y(f"{figure}:Q", scale=scale, axis=axis, title=f"{figure.upper()}, %")


def _retrain(figure: str, y: alt.Y) -> list[alt.Chart]:
    """Retrain's mean as a dashed line; nothing for AG, where it is 0 by definition."""
    if figure == "ag":
        return []
    rule = alt.Chart(rows("retrain")).mark_rule(color=RULE, strokeDash=[5, 4], strokeWidth=1.5)
    said = [tip("said", "Retrain, %")]
    return [rule.transform_calculate(said=f"format(datum.{figure}, '.2f')").encode(y=y, tooltip=said)]
