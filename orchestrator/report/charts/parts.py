"""What the charts share: scales by method, axes, tooltips, rules."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import altair as alt

from orchestrator.spec import Style, base_name, styles, titles

Rows = list[dict[str, Any]]
Scale = Literal["log", "even", "named"]  # how a searched hyper-parameter's values lie along an axis
Data = Mapping[str, Rows]  # the rows of one problem by data set, see orchestrator.report.charts.rows
STEP = 26  # pixels of a method's line
NO_TRIALS = (titles.ORIGINAL, "retrain")
PANEL = 230  # pixels of a panel's height
FLOOR, RULE = "#8a9199", "#7d848c"  # seen on both cards


@dataclass(frozen=True)
class Along:
    """What the variants of some methods are compared along, see `orchestrator.report.option_series`.

    name: of an option, or of the fact that tells what it came to (measured). labels: of the series. log: whether values
    spread too far for an even axis. stored: whether the methods tell what they recorded.
    """

    name: str
    labels: tuple[str, ...]
    measured: bool = False
    log: bool = False
    stored: bool = False


@dataclass(frozen=True)
class Scope:
    """What the charts of one report are about.

    labels: of the methods, in the tables' order. parameters: what was searched, by label. measured, weighted: labels
    with gradient norms, and with weights of the two sets. problems: their number. along: what variants are compared
    along. class_wise: whether all problems forget whole classes. even: whether the gaps lie so close that an even
    axis shows them all.
    """

    labels: tuple[str, ...]
    parameters: tuple[tuple[str, tuple[tuple[str, Scale], ...]], ...] = ()
    measured: frozenset[str] = frozenset()
    weighted: frozenset[str] = frozenset()
    problems: int = 1
    along: tuple[Along, ...] = ()
    class_wise: bool = False
    even: bool = False

    @property
    def searched(self) -> dict[str, dict[str, Scale]]:
        """The searched hyper-parameters by label."""
        return {label: dict(names) for label, names in self.parameters}

    def styles(self, without: Collection[str] = ()) -> dict[str, Style]:
        """The styles by title, as the rows name methods. without: labels to leave out."""
        found = styles(self.labels)
        return {titles.title(label): style for label, style in found.items() if _kind(label) not in without}


def _kind(label: str) -> str:
    """A label; the same one for all originals, whatever took part in their training."""
    return titles.ORIGINAL if base_name(label) == titles.ORIGINAL else label


@dataclass(frozen=True)
class Chart:
    """One kind of chart: what stands above and beneath it, and how it is made.

    build: its specification, without rows. shown: whether a problem's rows give it anything to show. wide: takes a
    whole line of the page. height: pixels that the page keeps free for it before it is drawn.
    """

    title: str
    about: str
    build: Callable[[Scope], alt.TopLevelMixin]
    shown: Callable[[Data, Scope], bool]
    height: Callable[[Scope], int]
    wide: bool = False


def colour(scope: Scope, legend: bool = False, without: Collection[str] = NO_TRIALS) -> alt.Color:
    """The colour of a method. without: labels that the chart does not show."""
    found = scope.styles(without)
    scale = alt.Scale(domain=list(found), range=[style.colour for style in found.values()])
    return alt.Color("method:N", scale=scale, title="Method", legend=_legend() if legend else None)


def shape(scope: Scope, legend: bool = False, without: Collection[str] = NO_TRIALS) -> alt.Shape:
    """The mark of a method. without: labels that the chart does not show."""
    found = scope.styles(without)
    scale = alt.Scale(domain=list(found), range=[style.shape for style in found.values()])
    return alt.Shape("method:N", scale=scale, title="Method", legend=_legend() if legend else None)


def dash(scope: Scope, legend: bool = False, without: Collection[str] = NO_TRIALS) -> alt.StrokeDash:
    """The dashes of a method's line, by which variants of one colour are told apart."""
    found = scope.styles(without)
    scale = alt.Scale(domain=list(found), range=[list(style.dash) or [1, 0] for style in found.values()])
    return alt.StrokeDash("method:N", scale=scale, title="Method", legend=_legend() if legend else None)


def _legend() -> alt.Legend:
    return alt.Legend(orient="bottom", columns=alt.ExprRef("columns"), symbolOpacity=1)


def picked() -> alt.Parameter:
    """A click on the legend shows one method and fades the others; a double click shows all."""
    return alt.selection_point(name="picked", fields=["method"], bind="legend")


def faded(parameter: alt.Parameter, opacity: float) -> Any:
    """The opacity of what is picked, or next to none."""
    return alt.when(parameter).then(alt.value(opacity)).otherwise(alt.value(0.06))


def method_axis(scope: Scope, without: Collection[str]) -> alt.Y:
    """A line for each method, named in two lines where it is a variant. without: labels that have no line."""
    axis = alt.Axis(
        title="Method",
        labelExpr="split(replace(datum.label, ' (', '\\n('), '\\n')",
        labelLimit=150,
        grid=True,
        ticks=False,
        domain=False,
        **above(-8, "right"),
    )
    return alt.Y("method:N", scale=alt.Scale(domain=list(scope.styles(without))), axis=axis)


def above(x: float = -40, align: Any = "left") -> dict[str, Any]:
    """Where a vertical axis has its title: lying, above its labels."""
    return {"titleAngle": 0, "titleAlign": align, "titleX": x, "titleY": -12, "titleBaseline": "bottom"}


GAP_TITLE = "AG, percentage points"
SYMLOG_TICKS = (0, 0.2, 0.5, 1, 2, 3, 5, 7, 10, 15, 20, 30, 50, 70, 100)
ROUND_TICKS = [m * 10.0**e for e in range(-9, 7) for m in (1, 2, 5)]
POWERS = [10.0**e for e in range(-12, 7)]
# 1e-4 below a thousandth, 0.001 and 20 above
NUMBER = (
    "datum.value != 0 && abs(datum.value) < 0.001 ? format(datum.value, '~e') : format(datum.value, '~r')"
)


def gap_scale(**options: Any) -> alt.Scale:
    """A scale that is even up to about 1 and logarithmic beyond, so that nothing is lost near 0."""
    return alt.Scale(type="symlog", constant=1, nice=False, **options)


def gap_x(scope: Scope) -> alt.X:
    """AG along the horizontal axis, from the smallest to the largest of what is shown."""
    if scope.even:
        scale = alt.Scale(zero=False, nice=False, padding=14)
        return alt.X("ag:Q", scale=scale, axis=alt.Axis(tickCount=6), title=GAP_TITLE)
    scale = gap_scale(zero=False, padding=14)
    return alt.X("ag:Q", scale=scale, axis=gap_axis(), title=GAP_TITLE)


def gap_y(scope: Scope, **options: Any) -> alt.Y:
    """AG along the vertical axis; options: of the axis."""
    along = gap_x(scope)
    axis = alt.Axis(tickCount=5, **options) if scope.even else gap_axis(**options)
    return alt.Y("ag:Q", scale=along["scale"], axis=axis, title=GAP_TITLE)


def gap_axis(**options: Any) -> alt.Axis:
    """The axis of a gap that is never negative."""
    return alt.Axis(
        values=list(SYMLOG_TICKS), labelExpr=NUMBER, labelOverlap="greedy", labelSeparation=7, **options
    )


def log_axis(values: Sequence[float], **options: Any) -> alt.Axis:
    """A logarithmic axis with the ticks that lie on it."""
    return alt.Axis(
        values=list(values), labelExpr=NUMBER, labelOverlap="greedy", labelSeparation=7, **options
    )


def rows(name: str) -> alt.NamedData:
    """A data set that comes with the page."""
    return alt.NamedData(name=name)


def tip(field_: str, title: str, form: str = "") -> alt.Tooltip:
    """A line of a tooltip. form: d3's format of a number; a text where it is empty."""
    return (
        alt.Tooltip(f"{field_}:Q", title=title, format=form)
        if form
        else alt.Tooltip(f"{field_}:N", title=title)
    )


RUN = (
    tip("method", "Method"),
    tip("hyper", "Hyper-parameters"),
    tip("seed", "Seed"),
    tip("fa", "FA, %", ".2f"),
    tip("ra", "RA, %", ".2f"),
    tip("ta", "TA, %", ".2f"),
    tip("mia", "MIA, %", ".2f"),
    tip("ag", "AG, points", ".2f"),
    tip("time", "RTE"),
    tip("key", "Key"),
)
