"""What the command line's verbs do, beside `run`: plan, status, report, compact, score and sync."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rich.console import Console

from core.errors import BadInput
from core.lazy import Lazy
from orchestrator import environment, report as reporting, run, tracking
from orchestrator.cli.estimate import plan_facts, print_plan
from orchestrator.cli.options import FAILED, Options
from orchestrator.cli.outcome import look_further, missing_lines, report_files
from orchestrator.cli.printing import say_json, say_lines, say_sentences
from orchestrator.cli.status import grid_state, print_state
from orchestrator.plan import expand, make_plan
from orchestrator.results import data_remarks, other_images
from orchestrator.spec import GridSpec
from tasks.store import Lease, Store


def plan(spec: GridSpec, store: Store, options: Options, console: Console) -> int:
    """Prints what a run would do, and roughly how long it would take; starts nothing."""
    grid = expand(make_plan(spec), store)
    facts = plan_facts(
        spec,
        grid,
        store,
        allow_cpu=options.allow_cpu,
        workers=options.workers,
        hardware=options.hardware,
        measure=True,
    )
    if options.as_json:
        say_json(console, facts)
    else:
        print_plan(spec, facts, console)
    return 0


def status(spec: GridSpec, store: Store, options: Options, console: Console) -> int:
    """How far a grid is, also while it runs in another process."""
    found = grid_state(spec, expand(make_plan(spec), store), store, allow_cpu=options.allow_cpu)
    if options.as_json:
        say_json(console, found.facts)
    else:
        print_state(console, spec, store, found)
    return FAILED if found.failed else 0


def report(spec: GridSpec, store: Store, options: Options, console: Console) -> int:
    """Writes the report from what the store holds now, and prints the tables."""
    grid = expand(make_plan(spec), store)
    found = reporting.read_grid(store, spec, grid)
    against = reporting.compare_stores(store, found, spec, options.against) if options.against else None
    remarks = [*spec.forget.remarks, *data_remarks(store, grid)]
    files = report_files(spec, grid, store, remarks, found, against, thumbnails=options.thumbnails)
    charts = reporting.export_charts(store, found) if options.charts else []
    if options.as_json:
        facts: dict[str, Any] = {"report": files, "warnings": found.repairs, "older": sorted(found.older)}
        facts |= {"against": against.as_json()} if against else {}
        say_json(console, facts | ({"charts": charts} if options.charts else {}))
        return 0
    reporting.print_found(console, found)
    if against:
        reporting.print_against(console, against)
    console.print()
    images = other_images(store, spec, grid, store.finished())
    say_sentences(console, [*images, *missing_lines(found, store)], "yellow")
    if files.startswith("needs "):
        console.print(f"report {files}", style="yellow", highlight=False, soft_wrap=True)
    if charts:
        console.print(f"{len(charts)} charts in {store.uri}/report/charts/", highlight=False, soft_wrap=True)
    say_lines(console, look_further(spec, store, "report"))
    return 0


def compact(_spec: GridSpec, store: Store, options: Options, console: Console) -> int:
    """Merges the rows of finished nodes into one file: on an object store, one to read instead of thousands."""
    say = Console(stderr=True) if options.as_json else console
    with Lease(store, warn=lambda line: say.print(line, style="yellow", soft_wrap=True)):
        rows, merged = run.maintenance.compact(store)
    if options.as_json:
        say_json(console, {"rows": rows, "merged": merged})
    else:
        said = f"{rows:,} rows in one file, {merged:,} of them merged now"
        console.print(said, highlight=False)
    return 0


def score(spec: GridSpec, store: Store, options: Options, console: Console) -> int:
    """Measures what rows of the store lack, of all metrics or of those that --only names; trains nothing."""
    place = environment.make_place(spec, store.address)
    say = Console(stderr=True) if options.as_json else console
    with Lease(store, warn=lambda line: say.print(line, style="yellow", soft_wrap=True)):
        grid = expand(make_plan(spec), store)
        found = run.score_store(store, place, options.only, plan=grid)
    if options.as_json:
        failed = {row.key: row.error_message for row in found.failed}
        say_json(console, {"computed": found.computed, "lacking": found.lacking, "failed": failed})
    else:
        done = f"{found.computed:,} scores computed" if found.computed else "nothing left to score"
        say_sentences(console, [done, *_lacking_lines(found)])
        say_lines(console, look_further(spec, store, "score"))
    return FAILED if found.failed else 0


def _lacking_lines(found: run.Scored) -> list[str]:
    """A line for each metric and reason, with how many rows stay without it."""
    lines = [
        f"{name}: {len(keys):,} row{'s' if len(keys) > 1 else ''} stay{'s' if len(keys) == 1 else ''} without it:"
        f" {reason}"
        for name, reasons in found.lacking.items()
        for reason, keys in reasons.items()
    ]
    return lines + [f"failed {row.key[:12]}: {row.error_kind}: {row.error_message}" for row in found.failed]


def sync(spec: GridSpec, store: Store, options: Options, console: Console) -> int:
    """Brings MLflow up to date with the store."""
    uri = tracking.tracking_uri(spec, store)
    if uri is None:
        raise BadInput("a remote store needs --set tracking.uri=… for MLflow")
    lines: list[str] = []
    grid = expand(make_plan(spec), store)
    missing = len(grid.nodes.keys() - store.finished())
    mirror = tracking.Mirror(uri, store, spec, grid, warn=lines.append)
    written = mirror.sync()
    mirror.close()
    if lines:
        raise BadInput(lines[0])
    if options.as_json:
        say_json(console, {"written": written, "uri": uri, "missing": missing})
    else:
        console.print(f"{written} runs written to {uri}", highlight=False, soft_wrap=True)
        if missing:
            line = (
                f"{missing:,} of {len(grid.nodes):,} nodes of the grid are missing: run it, then sync again"
            )
            console.print(line, style="yellow", highlight=False, soft_wrap=True)
    return 0


VERBS: dict[str, Callable[[GridSpec, Store, Options, Console], int]] = {
    "run": Lazy("orchestrator.cli.launch:run"),
    "plan": plan,
    "status": status,
    "report": report,
    "compact": compact,
    "score": score,
    "export": Lazy("orchestrator.cli.onnx_file:export"),
    "sync": sync,
    "ui": Lazy("orchestrator.cli.ui:ui"),
}
