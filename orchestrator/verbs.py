"""What the command line's verbs do, beside `run`: plan, status, report, compact and sync."""

from collections.abc import Callable

from rich.console import Console

from core.errors import BadInput
from orchestrator import upkeep
from orchestrator.estimate import plan_facts, print_plan
from orchestrator.launch import report_files, run
from orchestrator.options import FAILED, Options
from orchestrator.plan import make_plan
from orchestrator.report import export_charts, print_found, read_grid
from orchestrator.searches import expand
from orchestrator.spec import GridSpec
from orchestrator.track import Mirror, tracking_uri
from orchestrator.ui import ui
from tasks.lease import Lease
from tasks.store import Store


def plan(spec: GridSpec, store: Store, options: Options, console: Console) -> int:
    """Prints what a run would do, and roughly how long it would take; starts nothing."""
    grid = expand(make_plan(spec), store)
    facts = plan_facts(spec, grid, store, allow_cpu=options.allow_cpu, workers=options.workers)
    if options.as_json:
        console.print_json(data=facts)
    else:
        print_plan(spec, facts, console)
    return 0


def status(spec: GridSpec, store: Store, options: Options, console: Console) -> int:
    """How far a grid is, also while it runs in another process."""
    grid = expand(make_plan(spec), store)
    facts = plan_facts(spec, grid, store, allow_cpu=options.allow_cpu)
    failures = {k: r for k, r in store.failures().items() if k in grid.nodes}
    facts["failed"] = {k: f"{r.error_kind}: {r.error_message}" for k, r in failures.items()}
    if options.as_json:
        console.print_json(data=facts)
    else:
        print_plan(spec, facts, console)
        for key, reason in facts["failed"].items():
            console.print(f"  failed     {grid.nodes[key].words}: {reason}", highlight=False, markup=False)
    return FAILED if failures else 0


def report(spec: GridSpec, store: Store, options: Options, console: Console) -> int:
    """Writes the report from what the store holds now, and prints the tables."""
    grid = expand(make_plan(spec), store)
    found = read_grid(store, spec, grid)
    files = report_files(spec, grid, store, [], found)
    charts = export_charts(store, found) if options.charts else []
    if options.as_json:
        said = {"report": files, "warnings": found.repairs, "older": sorted(found.older)}
        console.print_json(data=said | ({"charts": charts} if options.charts else {}))
        return 0
    print_found(console, found)
    console.print(f"report  {files}", highlight=False, soft_wrap=True)
    if options.charts:
        console.print(f"charts  {len(charts)} files in report/charts/", highlight=False, soft_wrap=True)
    return 0


def compact(_spec: GridSpec, store: Store, options: Options, console: Console) -> int:
    """Merges the rows of finished nodes into one file: on an object store, one to read instead of thousands."""
    with Lease(store, warn=lambda line: console.print(line, style="yellow")):
        rows, merged = upkeep.compact(store)
    if options.as_json:
        console.print_json(data={"rows": rows, "merged": merged})
    else:
        said = f"{rows:,} rows in one file, {merged:,} of them merged now"
        console.print(said, highlight=False)
    return 0


def sync(spec: GridSpec, store: Store, options: Options, console: Console) -> int:
    """Brings MLflow up to date with the store."""
    uri = tracking_uri(spec, store)
    if uri is None:
        raise BadInput("a remote store needs --set tracking.uri=… for MLflow")
    lines: list[str] = []
    mirror = Mirror(uri, store, spec, expand(make_plan(spec), store), warn=lines.append)
    written = mirror.sync()
    mirror.close()
    if lines:
        raise BadInput(lines[0])
    if options.as_json:
        console.print_json(data={"written": written, "uri": uri})
    else:
        console.print(f"{written} runs written to {uri}", highlight=False, soft_wrap=True)
    return 0


VERBS: dict[str, Callable[[GridSpec, Store, Options, Console], int]] = {
    "run": run,
    "plan": plan,
    "status": status,
    "report": report,
    "compact": compact,
    "sync": sync,
    "ui": ui,
}
