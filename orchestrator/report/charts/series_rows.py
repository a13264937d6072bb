"""The rows behind the chart of figures against an option."""

from collections.abc import Callable, Iterable, Sequence
from statistics import fmean
from typing import Any

from core.metrics import FIGURES
from orchestrator.report.charts.parts import Along, Rows
from orchestrator.report.intervals import Figure, figure
from orchestrator.report.option_series import Point, Series
from orchestrator.report.trials import KEY_DIGITS
from orchestrator.results import Row
from orchestrator.spec import titles

SHOWN = (*FIGURES, "ef")
MEGABYTE = 1e6
PLACES = 4  # decimals of a figure in percent
SPREAD = 30  # largest over smallest value from which on an axis is logarithmic


def along_of(found: Iterable[Series]) -> tuple[Along, ...]:
    """What there are series along, each with the series of all problems."""
    groups: dict[str, list[Series]] = {}
    for series in found:
        groups.setdefault(series.along, []).append(series)
    return tuple(_along(name, series) for name, series in groups.items())


def _along(name: str, found: Sequence[Series]) -> Along:
    points = [point for series in found for point in series.points]
    values = [series.at(point) for series in found for point in series.points]
    return Along(
        name,
        tuple(dict.fromkeys(series.label for series in found)),
        measured=name != found[0].option,
        log=min(values) > 0 and max(values) > SPREAD * min(values),
        stored=any(point.stored for point in points),
    )


def option_rows(found: Sequence[Series], retrains: Sequence[Row]) -> tuple[Rows, Rows]:
    """The points of one problem's series, seeds and means; and by axis what Retrain and the originals have, in words.

    Fields ending in _before are of the originals, stored is in MB.
    """
    points = [row for series in found for row in _rows(series)]
    axes = dict.fromkeys(series.along for series in found)
    return points, [_levels(along, points, retrains) for along in axes]


def _rows(series: Series) -> Rows:
    by_variant: dict[str, list[Point]] = {}
    for point in series.points:
        by_variant.setdefault(point.entry.cell.method, []).append(point)
    return [
        row
        for points in by_variant.values()
        for row in (*(_seed(series, p) for p in points), _mean(series, points))
    ]


def _seed(series: Series, point: Point) -> dict[str, Any]:
    return _about(series, [point]) | {
        "state": "seed",
        "seed": point.entry.cell.seed,
        "key": (point.row["selected"] or point.entry.key)[:KEY_DIGITS],
    }


def _mean(series: Series, points: Sequence[Point]) -> dict[str, Any]:
    return _about(series, points) | {
        "state": "mean",
        "seeds": len(points),
        **{
            f"{name}_text": _text(figure(v))
            for name in SHOWN
            if (v := _values(points, lambda p: p.row, name))
        },
    }


def _about(series: Series, points: Sequence[Point]) -> dict[str, Any]:
    """Means over points of one variant; at one point its own values."""
    stored = [point.stored for point in points if point.stored is not None]
    return {
        "along": series.along,
        "method": titles.title(series.label),
        "variant": titles.title(points[0].entry.cell.method),
        "at": _digits(fmean(map(series.at, points))),
        "stored": _digits(fmean(stored) / MEGABYTE) if stored else None,
        **{name: _average(_values(points, lambda p: p.row, name)) for name in SHOWN},
        **{f"{name}_before": _average(_values(points, lambda p: p.original, name)) for name in SHOWN},
    }


def _values(points: Sequence[Point], of: Callable[[Point], Row | None], name: str) -> list[float]:
    return [row[name] for point in points if (row := of(point)) and row[name] is not None]


def _average(values: Sequence[float]) -> float | None:
    return round(fmean(values), PLACES) if values else None


def _text(found: Figure) -> str:
    return f"{found.mean:.2f}" if found.half is None else f"{found.mean:.2f} ± {found.half:.2f}"


def _levels(along: str, points: Rows, retrains: Sequence[Row]) -> dict[str, Any]:
    """`- - Retrain 97.3   ··· original 96.1–96.8` by figure."""
    said = {"along": along}
    means = [row for row in points if row["along"] == along and row["state"] == "mean"]
    for name in SHOWN:
        reference = [row[name] for row in retrains if row[name] is not None]
        before = [row[f"{name}_before"] for row in means if row[f"{name}_before"] is not None]
        parts = [f"- - Retrain {fmean(reference):.1f}"] if reference else []
        parts += [f"··· original {_span(before)}"] if before else []
        said[name] = "\N{NO-BREAK SPACE}\N{NO-BREAK SPACE} ".join(parts)
    return said


def _span(values: Sequence[float]) -> str:
    low, high = f"{min(values):.1f}", f"{max(values):.1f}"
    return low if low == high else f"{low}–{high}"


def _digits(value: float) -> float:
    return float(f"{value:.4g}")
