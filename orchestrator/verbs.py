"""What the command line's verbs do: plan, run, status, report, sync, ui."""

import json
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from core.errors import BadInput
from orchestrator import places, upkeep
from orchestrator.cost import CPU, GPU, CostModel
from orchestrator.frontier import Frontier, State
from orchestrator.overrides import grid_spec, with_overrides
from orchestrator.plan import Plan, make_plan
from orchestrator.progress import Progress, duration
from orchestrator.report import build_tables, print_tables, write_report
from orchestrator.run import Clock, Driver, Summary
from orchestrator.spec import GridSpec
from orchestrator.store import read_rows
from orchestrator.track import Mirror, tracking_uri
from tasks.executors import Executor, make_executor
from tasks.record import Record
from tasks.store import Store

FAILED = 3  # exit code of a grid that ended with failed nodes


@dataclass(frozen=True)
class Options:
    """The command line, after parsing."""

    executor: str = "ray"
    resume: bool = True
    retry_failed: bool = False
    budget: float | None = None
    allow_cpu: bool = False
    as_json: bool = False


def plan(spec: GridSpec, store: Store, options: Options, console: Console) -> int:
    """Prints what a run would do, and roughly how long it would take; starts nothing."""
    facts = plan_facts(spec, make_plan(spec), store)
    if options.as_json:
        console.print_json(data=facts)
    else:
        _print_plan(spec, facts, console)
    return 0


def plan_facts(spec: GridSpec, grid: Plan, store: Store) -> dict[str, Any]:
    """Cells, nodes of each kind, how many are done, and the hours that the rest takes on one slot."""
    finished = store.finished()
    cost = _cost_model(spec, grid, store, finished)
    left = [node for key, node in grid.nodes.items() if key not in finished]
    return {
        "recipe": spec.recipe,
        "store": store.uri,
        "cells": len(grid.cells),
        "nodes": grid.counts(),
        "done": len(grid.nodes) - len(left),
        "left": dict(Counter(node.kind for node in left)),
        "hours": round(cost.total(left) / 3600, 2),
        "hours_are": f"of one worker, {cost.pace.words}"
        + (", corrected by this store's own timings" if cost.factor != 1 else ""),
    }


def _cost_model(spec: GridSpec, grid: Plan, store: Store, finished: set[str]) -> CostModel:
    gpu = spec.resources.device != "cpu" and (spec.needs_gpu or torch.cuda.is_available())
    cost = CostModel(GPU if gpu else CPU)
    trained = [
        k for k in finished if k in grid.nodes and grid.nodes[k].kind in ("original", "retrain", "trial")
    ]
    for key in sorted(trained)[:200]:
        cost.observe(grid.nodes[key], store.manifest(key).record.node_seconds or 0.0)
    return cost


def _print_plan(spec: GridSpec, facts: dict[str, Any], console: Console) -> None:
    forget = [f"{100 * r:g} % at random" for r in spec.ratios] + [f"class {c}" for c in spec.classes]
    rows = {
        "datasets": ", ".join(spec.datasets),
        "networks": ", ".join(f"{a} {'/'.join(q.label for q in spec.quant_specs(a))}" for a in spec.archs),
        "forgetting": ", ".join(forget),
        "methods": ", ".join(spec.methods),
        "seeds": ", ".join(map(str, spec.seeds)),
        "search": f"{spec.search.mode}, {spec.search.trials} trials per cell, selected on {spec.select_on} figures",
        "cells": str(facts["cells"]),
        "nodes": " · ".join(
            f"{kind} {count - facts['left'].get(kind, 0)}/{count}" for kind, count in facts["nodes"].items()
        ),
        "to do": f"about {duration(facts['hours'] * 3600)} {facts['hours_are']}",
        "store": facts["store"],
    }
    console.print(f"grid {spec.recipe}", style="bold")
    for name, text in rows.items():
        console.print(f"  {name:<11}{text}", highlight=False, markup=False, soft_wrap=True)


def run(spec: GridSpec, store: Store, options: Options, console: Console) -> int:
    """Runs what is not finished; returns the exit code."""
    grid = make_plan(spec)
    store.check_writable()
    _refuse_cpu_by_accident(spec, grid, store, options, console)
    warnings = _prepare(grid, store, options)
    store.put("spec.json", spec.model_dump_json(indent=1).encode())
    say = console if not options.as_json else Console(stderr=True)
    for line in warnings:
        say.print(line, style="yellow", highlight=False, soft_wrap=True)
    finished = store.finished()
    cost = _cost_model(spec, grid, store, finished)
    failed = {} if options.retry_failed else _settled_failures(store, grid)
    work = {key: cost.work(node) for key, node in grid.nodes.items()}
    frontier = Frontier(grid, work, finished, failed)
    summary = Summary()
    if frontier.count(State.WAITING):
        summary = _execute(spec, grid, store, options, frontier, cost, say)
    summary.failed = failed | summary.failed
    _raise_if_no_data(grid, summary)
    return _finish(spec, grid, store, options, summary, warnings, console)


def _prepare(grid: Plan, store: Store, options: Options) -> list[str]:
    """Brings the store into a state to go on from; returns what was found broken."""
    keys = store.finished() & grid.nodes.keys()
    if not options.resume:
        for key in keys:
            store.forget_node(key)
        return []
    if options.retry_failed:
        _reopen_after_failures(store, grid)
    return upkeep.quarantine_broken(store, store.finished() & grid.nodes.keys())


def _settled_failures(store: Store, grid: Plan) -> dict[str, Record]:
    """Failures that would only repeat themselves: the same numbers diverge again. The others are tried again."""
    return {k: r for k, r in store.failures().items() if k in grid.nodes and r.error_kind == "numeric"}


def _reopen_after_failures(store: Store, grid: Plan) -> None:
    """Selections that were made without a failed trial are made again once it has been retried."""
    children, reached = grid.children(), list(store.failures().keys() & grid.nodes.keys())
    seen: set[str] = set()
    while reached:
        for child in children[reached.pop()]:
            if child not in seen:
                seen.add(child)
                reached.append(child)
                store.forget_node(child)


def _refuse_cpu_by_accident(
    spec: GridSpec, grid: Plan, store: Store, options: Options, console: Console
) -> None:
    """A grid of GPU-days is not started on CPUs unless somebody says so. A cluster may bring its GPUs later."""
    elsewhere = options.executor == "ray" and (places.ray_address() or places.inside_ray_job())
    if not spec.needs_gpu or options.allow_cpu or torch.cuda.is_available() or elsewhere:
        return
    if not options.as_json:
        _print_plan(spec, plan_facts(spec, grid, store), console)
    raise BadInput(
        f"recipe {spec.recipe} is made for GPUs and this machine has none: try --recipe digits, join a cluster "
        "(RAY_ADDRESS), or insist with --allow-cpu"
    )


def _execute(
    spec: GridSpec,
    grid: Plan,
    store: Store,
    options: Options,
    frontier: Frontier,
    cost: CostModel,
    console: Console,
) -> Summary:
    """Starts tracking, then workers, and drives them to the end."""
    mirror = _mirror(spec, grid, store, console)
    executor = _executor(spec, options)
    try:
        if spec.needs_gpu and executor.capacity.gpus == 0 and not options.allow_cpu:
            raise BadInput(
                f"recipe {spec.recipe} is made for GPUs and the cluster shows none: add GPU nodes, "
                "or insist with --allow-cpu"
            )
        console.print(f"{executor.capacity.words}, store {store.uri}", highlight=False, soft_wrap=True)
        clock = Clock(options.budget)
        driver = Driver(
            spec, grid, store, places.make_place(spec, store.uri), executor, cost, clock, mirror.push
        )
        with _graceful_stop(clock, console), Progress(console, frontier) as show:
            return driver.run(frontier, show)
    finally:
        executor.close()
        mirror.close()


def _executor(spec: GridSpec, options: Options) -> Executor:
    resources = spec.resources
    return make_executor(options.executor, resources.device, resources.gpus_per_slot, resources.slots)


class _graceful_stop:  # noqa: N801  (used like a function)
    """While active, the first SIGTERM or Ctrl-C ends handing out work; the next one ends the program."""

    def __init__(self, clock: Clock, console: Console) -> None:
        self.clock, self.console = clock, console
        self.before: dict[int, Any] = {}

    def __enter__(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            self.before[number] = signal.signal(number, self._stop)

    def __exit__(self, *_: object) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def _stop(self, _number: int, _frame: object) -> None:
        if self.clock.stopping:
            raise KeyboardInterrupt
        self.clock.stopping = True
        self.console.print(
            "stopping: waiting for the nodes in flight (again to stop at once)", style="yellow"
        )


def _raise_if_no_data(grid: Plan, summary: Summary) -> None:
    """A grid none of whose data sets can be read is bad input, not a failed grid."""
    bad = [
        r
        for k, r in summary.failed.items()
        if k in grid.nodes and r.kind == "data" and r.error_kind == "bad input"
    ]
    if bad and len(bad) == grid.counts()["data"]:
        raise BadInput(bad[0].error_message or "no data")


def _finish(
    spec: GridSpec,
    grid: Plan,
    store: Store,
    options: Options,
    summary: Summary,
    warnings: list[str],
    console: Console,
) -> int:
    """Writes the report, prints the table and where to look; returns the exit code."""
    files = _report_files(spec, grid, store, [*warnings, *summary.warnings])
    code = FAILED if summary.failed else 0
    if options.as_json:
        facts = {
            "computed": summary.computed,
            "failed": sorted(summary.failed),
            "left": summary.left,
            "exit": code,
        }
        console.print_json(data=facts | {"report": files})
        return code
    rows, _ = read_rows(store, grid.nodes.keys())
    print_tables(console, build_tables(spec, grid, rows))
    for line in _closing_lines(spec, store, summary, files):
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    return code


def _closing_lines(spec: GridSpec, store: Store, summary: Summary, files: str) -> list[str]:
    again = f"python -m orchestrator.grid run --store {store.uri}"
    lines = [f"{summary.computed} nodes computed"] if summary.computed else ["nothing left to compute"]
    if summary.left:
        lines[0] += f", {summary.left} left: the same command goes on from here"
    for record in list(summary.failed.values())[:10]:
        lines.append(f"failed {record.kind} {record.key[:12]}: {record.error_kind}: {record.error_message}")
    if summary.failed:
        lines.append(
            f"{len(summary.failed)} failed, {summary.blocked} blocked by them; retry: {again} --retry-failed"
        )
    lines += summary.warnings
    lines.append(f"report  {files}")
    if spec.tracking.enabled:
        lines.append(f"mlflow  python -m orchestrator.grid ui --store {store.uri}")
    return [
        *lines,
        f"rows    {store.uri}/report/results.parquet, or orchestrator.load_results('{store.uri}')",
    ]


def _report_files(spec: GridSpec, grid: Plan, store: Store, warnings: list[str]) -> str:
    try:
        return write_report(store, spec, grid, warnings).html
    except ModuleNotFoundError as error:
        return f"needs {error.name}: run `report --store {store.uri}` where it is installed"


class _NoMirror:
    """Tracking that is switched off, or cannot be had."""

    def push(self, record: Record) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


def _mirror(spec: GridSpec, grid: Plan, store: Store, console: Console) -> "Mirror | _NoMirror":
    """The MLflow mirror, or none with one line that says why."""
    if not spec.tracking.enabled:
        return _NoMirror()
    uri = tracking_uri(spec, store)
    try:
        if uri is None:
            raise BadInput("a remote store needs --set tracking.uri=… for MLflow")
        return Mirror(uri, store, spec, grid, warn=_yellow(console))
    except Exception as error:
        why = (
            f"no module {error.name}"
            if isinstance(error, ModuleNotFoundError)
            else str(error).splitlines()[0]
        )
        _yellow(console)(f"MLflow is off ({why}); `sync --store {store.uri}` mirrors the results later")
        return _NoMirror()


def _yellow(console: Console) -> Callable[[str], None]:
    return lambda line: console.print(line, style="yellow", highlight=False, soft_wrap=True)


def status(spec: GridSpec, store: Store, options: Options, console: Console) -> int:
    """How far a grid is, also while it runs in another process."""
    grid = make_plan(spec)
    facts = plan_facts(spec, grid, store)
    failures = {k: r for k, r in store.failures().items() if k in grid.nodes}
    facts["failed"] = {k: f"{r.error_kind}: {r.error_message}" for k, r in failures.items()}
    if options.as_json:
        console.print_json(data=facts)
    else:
        _print_plan(spec, facts, console)
        for key, reason in facts["failed"].items():
            console.print(f"  failed     {grid.nodes[key].words}: {reason}", highlight=False, markup=False)
    return FAILED if failures else 0


def report(spec: GridSpec, store: Store, options: Options, console: Console) -> int:
    """Writes the report from what the store holds now, and prints the tables."""
    grid = make_plan(spec)
    files = _report_files(spec, grid, store, [])
    rows, warnings = read_rows(store, grid.nodes.keys())
    if options.as_json:
        console.print_json(data={"report": files, "warnings": warnings})
        return 0
    print_tables(console, build_tables(spec, grid, rows))
    console.print(f"report  {files}", highlight=False, soft_wrap=True)
    return 0


def sync(spec: GridSpec, store: Store, options: Options, console: Console) -> int:
    """Brings MLflow up to date with the store."""
    uri = tracking_uri(spec, store)
    if uri is None:
        raise BadInput("a remote store needs --set tracking.uri=… for MLflow")
    lines: list[str] = []
    mirror = Mirror(uri, store, spec, make_plan(spec), warn=lines.append)
    written = mirror.sync()
    mirror.close()
    if lines:
        raise BadInput(lines[0])
    if options.as_json:
        console.print_json(data={"written": written, "uri": uri})
    else:
        console.print(f"{written} runs written to {uri}", highlight=False, soft_wrap=True)
    return 0


def ui(spec: GridSpec, store: Store, _options: Options, console: Console) -> int:
    """Serves the MLflow UI of a store on this machine until it is interrupted."""
    uri = tracking_uri(spec, store)
    if uri is None:
        raise BadInput(
            "a remote store has no MLflow of its own; start `mlflow ui` on the server that tracks it"
        )
    if uri.startswith("http"):
        console.print(f"this grid is tracked at {uri}", soft_wrap=True)
        return 0
    address = ["--host", "127.0.0.1", "--port", "5000"]
    console.print("http://127.0.0.1:5000 (Ctrl-C ends it)")
    return subprocess.call([sys.executable, "-m", "mlflow", "ui", "--backend-store-uri", uri, *address])


def open_grid(
    verb: str, recipe: str | None, file: Path | None, overrides: list[str], store: str | None
) -> tuple[GridSpec, Store]:
    """The grid and the store a command means; a store that holds a grid needs no recipe."""
    named = recipe is not None or file is not None
    spec = grid_spec(recipe, file, overrides) if named or not store else None
    opened = Store(places.store_uri(store, spec.recipe if spec else ""))
    if named:
        assert spec is not None
        return spec, opened
    known = _stored_values(opened)
    if known is not None:
        return with_overrides(known, overrides), opened
    if verb in ("run", "plan"):
        return spec or grid_spec(None, None, overrides), opened
    raise BadInput(f"no grid in {opened.uri}: name its store with --store{_other_stores()}")


def _stored_values(store: Store) -> dict[str, Any] | None:
    """The grid that last ran in a store, as plain values."""
    try:
        values: dict[str, Any] = json.loads(store.get("spec.json"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValueError as error:
        raise BadInput(
            f"{store.uri}/spec.json cannot be read ({error}); name the grid with --recipe or --spec"
        ) from error
    return values


def _other_stores() -> str:
    found = sorted(str(path.parent) for path in Path("runs").glob("*/spec.json"))
    return f" (here: {', '.join(found)})" if found else ""


VERBS: dict[str, Callable[[GridSpec, Store, Options, Console], int]] = {
    "run": run,
    "plan": plan,
    "status": status,
    "report": report,
    "sync": sync,
    "ui": ui,
}
