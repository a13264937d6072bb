"""Figures of every trial against what was searched: the learning rate, and each other hyper-parameter by itself."""

from typing import Any

import altair as alt

from orchestrator.charts.parts import (
    PANEL,
    POWERS,
    RULE,
    RUN,
    Chart,
    Data,
    Scope,
    above,
    colour,
    dash,
    faded,
    gap_axis,
    gap_scale,
    log_axis,
    picked,
    rows,
    shape,
    tip,
)

WIDTH, GUTTER = 1000, 40  # pixels of a file; the page fits panels to its own width
PARTS = ("fa", "ra", "ta", "mia")
MARKED = (
    "Every trial is a mark; lines go through the means over seeds. Filled: selected. Ringed: selected at an end of its"
    " range."
)


def lr_chart() -> Chart:
    """AG and its four parts against the learning rate."""
    return Chart(
        "Search over the learning rate",
        f"{MARKED} Dashed: Retrain. A click in the legend picks out a method, a double click brings back all.",
        _lr,
        lambda data, _scope: _distinct(data, "lr") > 1,
        lambda _scope: 2 * PANEL + 190,
        wide=True,
    )


def other_chart() -> Chart:
    """AG against every searched hyper-parameter that is no learning rate; each has its own axis."""
    return Chart(
        "Search over other hyper-parameters",
        f"{MARKED} Where a method's learning rate was searched too, both changed from trial to trial.",
        _others,
        lambda data, scope: any(
            _distinct(data, name) > 1 for names in scope.parameters.values() for name in names
        ),
        lambda _scope: PANEL + 100,
        wide=True,
    )


def _distinct(data: Data, name: str) -> int:
    """Distinct values of a hyper-parameter in a method's trials, at most."""
    found: dict[str, set[float]] = {}
    for row in data["trials"]:
        if row.get(name) is not None:
            found.setdefault(row["method"], set()).add(row[name])
    return max(map(len, found.values()), default=0)


def _lr(scope: Scope) -> alt.TopLevelMixin:
    pick = picked()
    main = _panel(scope, "ag", "lr", "lr (logarithmic)", pick, legend=True).properties(
        width=WIDTH, height=PANEL
    )
    parts = [_panel(scope, name, "lr", "lr (logarithmic)", pick) for name in PARTS]
    beneath = alt.concat(
        *[part.properties(width=_share(4), height=PANEL * 2 // 3) for part in parts],
        columns=4,
        spacing=GUTTER,
    )
    return alt.vconcat(main, beneath, spacing=GUTTER)


def _others(scope: Scope) -> alt.TopLevelMixin:
    panels = [
        _panel(scope, "ag", name, f"{method}: {name}" + (" (logarithmic)" if log else ""), None, log, method)
        for method, names in scope.parameters.items()
        for name, log in names.items()
    ]
    return alt.concat(
        *[panel.properties(width=_share(3), height=PANEL) for panel in panels], columns=3, spacing=GUTTER
    )


def _share(columns: int) -> int:
    """The width of one of several panels side by side; each but the first has an axis beside it."""
    return (WIDTH - (columns - 1) * (GUTTER + 40)) // columns


def _panel(
    scope: Scope,
    figure: str,
    parameter: str,
    title: str,
    pick: alt.Parameter | None,
    log: bool = True,
    method: str | None = None,
    legend: bool = False,
) -> Any:
    """One figure of the trials against one hyper-parameter. method: the only one to show."""
    x = _x(parameter, title, log)
    kept = f"isValid(datum.{parameter})" + (f" && datum.method == {method!r}" if method else "")
    base = alt.Chart(rows("trials")).transform_filter(kept)
    paint, mark, y = colour(scope, legend), shape(scope, legend), _y(figure)
    mean = alt.Y(f"mean({figure}):Q", scale=y["scale"], axis=y["axis"], title=y["title"])
    line = base.transform_filter("datum.state != 'part'").mark_line(strokeWidth=1.6)
    drawn = line.encode(x=x, y=mean, color=paint, strokeDash=dash(scope), **_opacity(pick, 0.75))
    marks = [
        base.transform_filter(f"datum.state == '{state}'")
        .mark_point(size=size, filled=filled)
        .encode(x=x, y=y, color=paint, shape=mark, tooltip=list(RUN), **_opacity(pick, opacity))
        for state, size, filled, opacity in (
            ("part", 16, False, 0.5),
            ("trial", 42, False, 0.8),
            ("selected", 85, True, 1.0),
        )
    ]
    ring = base.transform_filter("datum.edge").mark_point(shape="circle", size=260, strokeWidth=1.6)
    ringed = ring.encode(x=x, y=y, color=paint, **_opacity(pick, 1))
    layers: list[alt.Chart] = [*_retrain(figure, y), drawn, *marks, ringed]
    if pick is not None and figure == "ag":
        layers[0] = layers[0].add_params(pick)
    return alt.layer(*layers)


def _opacity(pick: alt.Parameter | None, opacity: float) -> dict[str, Any]:
    return {"opacity": alt.OpacityValue(opacity) if pick is None else faded(pick, opacity)}


def _x(parameter: str, title: str, log: bool) -> alt.X:
    axis = log_axis(POWERS, grid=False) if log else alt.Axis(labelOverlap=True, grid=False, tickCount=5)
    kind = {"type": "log"} if log else {"zero": False}
    scale = alt.Scale(nice=False, padding=14, **kind)
    return alt.X(f"{parameter}:Q", scale=scale, axis=axis, title=title)


def _y(figure: str) -> alt.Y:
    if figure == "ag":
        title = "AG, percentage points (logarithmic beyond 1)"
        return alt.Y("ag:Q", scale=gap_scale(domainMin=0), axis=gap_axis(**above()), title=title)
    scale = alt.Scale(zero=False, nice=True, padding=8)
    return alt.Y(
        f"{figure}:Q", scale=scale, axis=alt.Axis(tickCount=4, **above()), title=f"{figure.upper()}, %"
    )


def _retrain(figure: str, y: alt.Y) -> list[alt.Chart]:
    """Retrain's mean as a dashed line; nothing for AG, where it is 0 by definition."""
    if figure == "ag":
        return []
    rule = alt.Chart(rows("retrain")).mark_rule(color=RULE, strokeDash=[5, 4], strokeWidth=1.5)
    said = [tip("said", "Retrain, %")]
    return [rule.transform_calculate(said=f"format(datum.{figure}, '.2f')").encode(y=y, tooltip=said)]
