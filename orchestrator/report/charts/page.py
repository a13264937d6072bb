"""The charts as the page holds them: specifications once, rows once for each problem, and the scripts."""

import base64
import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any, TypeVar

from core.data import listed_as, scenario_kind
from orchestrator.plan import Cell
from orchestrator.report.charts.catalogue import charts, spec_of
from orchestrator.report.charts.overview import overview_chart
from orchestrator.report.charts.parts import Chart, Data, Rows, Scope
from orchestrator.report.charts.rows import overview_data, problem_data, scope_of
from orchestrator.report.charts.theme import THEMES, on_dark
from orchestrator.report.contents import GridContents
from orchestrator.report.trials import EvaluatedTrial
from orchestrator.results import Entry

OVERVIEW = "overview"
T = TypeVar("T", Entry, EvaluatedTrial)


@dataclass(frozen=True)
class Shown:
    """A chart at its place on the page: its kind, the problem whose rows it shows, its name as a file.

    where: the problem's title, for a chart that stands by itself.
    """

    name: str
    problem: str
    chart: Chart
    height: int
    file: str
    where: str = ""


@dataclass(frozen=True)
class Charts:
    """The charts of a report.

    problems: those of each table, in the tables' order. data: rows by problem. specs: by kind. legend: pixels of one of
    its columns. colours: of the series, on the light card.
    """

    overview: Shown | None
    problems: list[list[Shown]]
    data: dict[str, Data]
    specs: dict[str, dict[str, Any]]
    legend: int
    colours: tuple[str, ...] = ()

    @property
    def all(self) -> list[Shown]:
        """Every chart of the page."""
        return [
            *([self.overview] if self.overview else []),
            *(one for found in self.problems for one in found),
        ]

    @property
    def json(self) -> str:
        """What the page's script reads. No text in it ends a script or a CDATA section."""
        packed = {
            name: {part: _packed(rows) for part, rows in data.items()} for name, data in self.data.items()
        }
        page = {"specs": self.specs, "problems": packed, "themes": THEMES, "legend": self.legend}
        page["dark"] = {colour: on_dark(colour) for colour in self.colours}
        text = json.dumps(page, ensure_ascii=False, separators=(",", ":"))
        return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def make_charts(found: GridContents) -> Charts:
    """The charts of every table that has something to show, and one over all where there are several."""
    tables, series = found.tables, found.series
    scope, made = scope_of(tables, found.trials, series), charts()
    by_entry, by_trial = _by_problem(found.entries), _by_problem(found.trials)
    data: dict[str, Data] = {}
    problems = []
    for number, table in enumerate(tables, 1):
        at, name = _problem(table.at), str(number)
        here = [one for one in series if _problem(one.points[0].entry.cell) == at]
        data[name] = problem_data(table, by_entry.get(at, []), by_trial.get(at, []), found.rows, here)
        problems.append(_shown(made, name, data[name], scope, file_stem(table.at), table.title))
    overview = None
    if len(tables) > 1:
        data[OVERVIEW], made[OVERVIEW] = overview_data(tables), overview_chart()
        overview = next(iter(_shown({OVERVIEW: made[OVERVIEW]}, OVERVIEW, data[OVERVIEW], scope, "")), None)
    colours = tuple(dict.fromkeys(style.colour for style in scope.styles().values()))
    page = Charts(overview, problems, data, {}, _legend_width(scope), colours)
    page.specs.update({name: _spec(name, scope) for name in {one.name: None for one in page.all}})
    return page


@lru_cache(maxsize=64)
def _spec(name: str, scope: Scope) -> dict[str, Any]:
    """A specification, which nobody changes, made once for a scope."""
    return spec_of(overview_chart() if name == OVERVIEW else charts()[name], scope)


def _legend_width(scope: Scope) -> int:
    """Pixels of a legend's column that the longest title fits into."""
    return 36 + 7 * max((len(title) for title in scope.styles()), default=0)


def file_stem(at: Cell) -> str:
    """`cifar10-resnet18-4w4a-random10`, `-class3` or `-list-customer.txt-37`."""
    amount = 100 * at.amount if at.scenario == "random" else at.amount
    if scenario_kind(at.scenario) == "list":
        name = re.sub(r"[^\w.]+", "-", listed_as(at.scenario))
        forgotten = f"list-{name}-{amount:.0f}"
    else:
        forgotten = f"{at.scenario}{amount:g}"
    return f"{at.dataset}-{at.arch}-{at.quant}-{forgotten}"


def _shown(
    made: Mapping[str, Chart], problem: str, data: Data, scope: Scope, stem: str, where: str = ""
) -> list[Shown]:
    return [
        Shown(name, problem, chart, chart.height(scope), "-".join(filter(None, (stem, name))), where)
        for name, chart in made.items()
        if chart.shown(data, scope)
    ]


def _by_problem(found: Iterable[T]) -> dict[Cell, list[T]]:
    groups: dict[Cell, list[T]] = {}
    for one in found:
        groups.setdefault(_problem(one.cell), []).append(one)
    return groups


def _problem(cell: Cell) -> Cell:
    return cell._replace(seed=0, method="")


def _packed(rows: Rows) -> dict[str, Any]:
    """Rows as columns' names and lists of values: half the size."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    return {"names": names, "rows": [[row.get(name) for name in names] for row in rows]}


@dataclass(frozen=True)
class Scripts:
    """The page's scripts and the Content-Security-Policy source that allows them and no other."""

    texts: tuple[str, ...]

    @property
    def sources(self) -> str:
        """Their hashes."""
        digests = (hashlib.sha256(text.encode()).digest() for text in self.texts)
        return " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)


@lru_cache
def scripts() -> Scripts:
    """Vega, Vega-Lite and Vega-Embed in one, and the few lines that draw with them.

    Each is a CDATA section behind comments, so that the page is XML as well as HTML.
    """
    import vl_convert  # a second that only a page needs

    bundle: str = vl_convert.javascript_bundle()  # type: ignore[call-arg]  # its stub forgets the default
    own = files("orchestrator.report").joinpath("templates/report.js").read_text(encoding="utf-8")
    return Scripts(tuple(f"//<![CDATA[\n{text}\n//]]>" for text in (bundle.replace("]]>", "]] >"), own)))
