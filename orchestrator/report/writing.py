"""The report of a grid: one self-contained page, Markdown, CSV files and all rows in one Parquet file."""

import shlex
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa
import yaml

from core.checkpoint import WEIGHTS
from core.metrics import FIGURES, METRICS
from orchestrator.plan import Plan
from orchestrator.report import audits, csv_files, exported, markdown
from orchestrator.report.audit_images import audit_pictures
from orchestrator.report.comparison import (
    HEADINGS,
    KEY as AGAINST_KEY,
    GridDifferences,
    against_csv,
    against_markdown,
    cells,
    floor_words,
    only_lines,
    problem_words,
)
from orchestrator.report.contents import GridContents, read_grid
from orchestrator.report.failures import by_kind, clean, failures_of
from orchestrator.report.heading import heading, origin
from orchestrator.report.latex import latex_tables
from orchestrator.report.layouts import pivots, text
from orchestrator.report.paper import published
from orchestrator.report.sentence import quotable
from orchestrator.report.tables import Table
from orchestrator.report.tabulation import build_tables
from orchestrator.report.terminal_tables import print_tables
from orchestrator.report.thumbnails import galleries
from orchestrator.report.trials import EvaluatedTrial
from orchestrator.results import Entry, Row, as_table, compressed, groups, notice, wide_schema
from orchestrator.spec import GridSpec, titles
from tasks.store import Store, public

if TYPE_CHECKING:
    from jinja2 import Template
    from rich.console import Console

__all__ = [
    "ReportFiles",
    "Table",
    "build_tables",
    "export_charts",
    "print_found",
    "print_tables",
    "write_report",
]


@dataclass(frozen=True)
class ReportFiles:
    """Where the report was written."""

    html: str
    markdown: str
    csv: str


@dataclass(frozen=True)
class Summary:
    """What was run, with what, and how far it is: (label, value) pairs and cells by status."""

    facts: list[tuple[str, str]]
    cells: dict[str, int]
    total: int


def write_report(
    store: Store,
    spec: GridSpec,
    plan: Plan,
    warnings: Sequence[str] = (),
    found: GridContents | None = None,
    against: GridDifferences | None = None,
    *,
    thumbnails: bool | None = None,
    runs: Mapping[str, str] | None = None,
) -> ReportFiles:
    """Writes index.html, report.md and the data files to report/, from what was found, or else the store holds now.

    results.parquet has every row of the store, and a column more: superseded_by, for a row that an older revision
    made the key of the node that takes its place. against: another grid that stands in the report too. thumbnails: of
    forgotten images, see `orchestrator.report.thumbnails`. runs: pages in MLflow by key.
    """
    found = found or read_grid(store, spec, plan)
    turned = pivots(spec.recipe, found.tables)
    page = _page(store, spec, plan, found) | {
        "galleries": galleries(store, spec, plan, found.tables, found.entries, thumbnails),
        "keys": [_keys(table, found.entries, runs or {}) for table in found.tables],
        "pivots": turned,
        "warnings": [clean(line) for line in (*plan.omissions, *warnings, *found.repairs)],
        "against": against,
        "against_markdown": against_markdown(against) if against else "",
    }
    audited = audits.audit_tables(spec, plan, found.rows, _left_out(store, plan))
    page["audit"] = [(table, audit_pictures(table, store)) for table in audited]
    page["audit_markdown"] = audits.audits_markdown(audited)
    page["exported"] = exported.export_tables(found.entries)
    page["exported_markdown"] = exported.exports_markdown(page["exported"])
    _put_data(store, spec, found)
    more = [*text.layouts_latex(spec.recipe, turned), *audits.audits_latex(audited)]
    latex = latex_tables(spec, found.tables, more)
    _put_or_remove(store, "report/audit.csv", audits.audits_csv(audited) if audited else None)
    store.put("report/tables.tex", latex.encode())
    _put_or_remove(store, "report/layouts.csv", text.layouts_csv(turned) if turned else None)
    _put_or_remove(store, "report/against.csv", against_csv(against) if against else None)
    store.put("report/report.md", _template("report.md.j2").render(page).encode())
    store.put("report/index.html", _template("report.html.j2").render(page).encode())
    return ReportFiles(*(_address(store, f"report/{n}") for n in ("index.html", "report.md", "results.csv")))


def _left_out(store: Store, plan: Plan) -> dict[str, dict[str, str]]:
    """What each finished audit says that it could not, by its key."""
    manifests = store.manifests(plan.audits.values(), broken={})
    return {key: manifest.facts.get("left_out", {}) for key, manifest in manifests.items()}


def _page(store: Store, spec: GridSpec, plan: Plan, found: GridContents) -> dict[str, Any]:
    """What the templates show of the grid by itself."""
    from orchestrator.report.charts import (  # Altair is a second that other verbs need not wait
        make_charts,
        scripts,
    )

    rows = list(found.rows.values())
    failures = failures_of(store, plan, rows)
    return {
        "recipe": spec.recipe,
        "local": store.local,
        "weights": WEIGHTS,
        "heading": heading(spec),
        "origin": origin(spec),
        "trials": [(table.title, _trials(table, found.trials)) for table in found.tables],
        "tables": found.tables,
        "summary": _summary(store, plan, rows, found.entries),
        "failures": failures,
        "failure_groups": by_kind(failures),
        "charts": make_charts(found),
        "scripts": scripts(),
        "older": groups(found.older),
        "older_count": len(found.older),
        "older_notice": notice(found.older),
        "rerun": f"python -m orchestrator.grid run --store {shlex.quote(store.uri)} --retry-failed",
        "yaml": _yaml(spec),
        "written": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
    }


def _put_data(store: Store, spec: GridSpec, found: GridContents) -> None:
    """Writes the rows, and what was made of them, at full precision."""
    store.put("report/results.parquet", _parquet(found))
    store.put("report/results.csv", csv_files.results_csv(found.entries, found.tables, spec).encode())
    store.put("report/trials.csv", csv_files.trials_csv(found.trials).encode())
    store.put("report/gradient_norms.csv", csv_files.norms_csv(found.entries, found.rows).encode())
    _put_or_remove(store, "report/options.csv", csv_files.options_csv(found.series) if found.series else None)


def _put_or_remove(store: Store, name: str, text: str | None) -> None:
    """Writes a file that not every report has; without a text, none of an earlier report stays."""
    if text is None:
        store.remove(name)
    else:
        store.put(name, text.encode())


def _trials(table: Table, tried: Iterable[EvaluatedTrial]) -> list[EvaluatedTrial]:
    """The trials of a table, in its methods' order."""
    at = table.at._replace(seed=0, method="")
    return [trial for trial in tried if trial.cell._replace(seed=0, method="") == at]


class Kept(NamedTuple):
    """What a cell left: keys of its figures' node and of the chosen evaluation and model, and its page in MLflow."""

    method: str
    seed: int
    key: str
    selected: str
    model: str
    run: str


def _keys(table: Table, entries: Iterable[Entry], runs: Mapping[str, str]) -> list[Kept]:
    """What each cell of a table left, method by method."""
    at = table.at._replace(seed=0, method="")
    return [
        Kept(
            titles.title(e.cell.method),
            e.cell.seed,
            e.key,
            e.row["selected"] or "",
            e.row["model"] or "",
            runs.get(e.key, ""),
        )
        for e in entries
        if e.row and e.cell._replace(seed=0, method="") == at
    ]


def export_charts(store: Store, found: GridContents) -> list[str]:
    """Writes the report's charts as files, see `reports.charts.files.write_charts`; returns their names."""
    from orchestrator.report.charts import make_charts, write_charts

    return write_charts(store, make_charts(found))


def print_found(console: "Console", found: GridContents) -> None:
    """The tables, and a line about the rows that are too old for them."""
    print_tables(console, found.tables)
    if found.older:
        console.print(notice(found.older), style="yellow", highlight=False, markup=False, soft_wrap=True)


def _address(store: Store, name: str) -> str:
    return store.path(name) if store.local else f"{store.uri.rstrip('/')}/{name}"


def _parquet(found: GridContents) -> bytes:
    newer = {key: one.now for key, one in found.older.items()}
    rows = [row | {"superseded_by": newer.get(row["key"])} for row in found.everything]
    return compressed(as_table(rows, wide_schema(rows).append(pa.field("superseded_by", pa.string()))))


@lru_cache
def _template(name: str) -> "Template":
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("orchestrator.report"),
        autoescape=name.endswith(".html.j2"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {
        "FIGURES": FIGURES,
        "METRICS": METRICS,
        "audits": audits,
        "exports": exported,
        "COMPARED": published.COMPARED,
        "markdown": markdown,
        "quotable": quotable,
        "explained": titles.explained,
        "short": titles.title,
        "points": lambda value: "–" if value is None else f"{value:.2f}",
        "EXPLAINED": markdown.EXPLAINED,
        "hyper_parameters": titles.hyper_parameters,
        "layouts_text": text,
        "share": _share,
        "AGAINST_HEADINGS": HEADINGS,
        "AGAINST_KEY": AGAINST_KEY,
        "against_cells": cells,
        "floor_words": floor_words,
        "only_lines": only_lines,
        "problem_words": problem_words,
    }
    return environment.get_template(name)


def _share(table: Table, ag: float) -> float:
    """An AG as a share of the table's largest, for the bar beneath it."""
    largest = max((line.ag.mean for line in table.lines if line.ag), default=0.0)
    return round(ag / largest, 3) if largest else 0.0


def _summary(store: Store, plan: Plan, rows: list[Row], entries: list[Entry]) -> Summary:
    status = {entry.key: entry.status for entry in entries}
    cells = Counter(status[key] for key in plan.cells.values())
    ends = sorted(row["finished_at"] for row in rows if row["finished_at"])
    times = [row["node_seconds"] for row in rows if row["status"] == "done" and row["node_seconds"]]
    facts = [
        ("Nodes", _node_counts(store, plan, rows)),
        ("Ran", _span(ends[0], ends[-1]) if ends else "not yet"),
        ("Work", f"{sum(times) / 3600:.2f} node hours"),
        ("Hardware", _distinct(rows, "hardware")),
        ("Precision", _distinct(rows, "precision")),
        ("Versions", _distinct(rows, "versions")),
        ("Code revision", _distinct(rows, "code_revision")),
        ("Store", store.uri),
    ]
    return Summary(facts, {name: cells[name] for name in _STATUSES if cells[name]}, len(plan.cells))


def _span(first: datetime, last: datetime) -> str:
    day = "" if first.date() == last.date() else f"{last:%Y-%m-%d} "
    return f"{first:%Y-%m-%d %H:%M} to {day}{last:%H:%M} UTC"


_STATUSES = ("done", "unfinished", "missing", "failed")


def _node_counts(store: Store, plan: Plan, rows: list[Row]) -> str:
    done = len(store.finished() & plan.nodes.keys())
    failed = sum(row["status"] != "done" for row in rows)
    missing = len(plan.nodes) - done - failed
    return f"{done:,} of {len(plan.nodes):,} done, {failed:,} failed, {missing:,} missing"


def _distinct(rows: Iterable[Row], name: str) -> str:
    """A column's values, the most frequent first."""
    found = Counter(row[name] for row in rows if row[name])
    return "; ".join(value for value, _ in found.most_common()) or "–"


def _yaml(spec: GridSpec) -> str:
    values: dict[str, Any] = spec.model_dump(mode="json")
    if spec.tracking.uri:
        values["tracking"]["uri"] = public(spec.tracking.uri)
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True)
