"""The verb `run`: prepares the store, starts tracking and workers, drives them, and says how it ended."""

import signal
from collections.abc import Callable
from typing import Any

from rich.console import Console

from core.errors import BadInput
from core.lazy import torch
from orchestrator import environment
from orchestrator.cli.estimate import cost_model, plan_facts, print_plan
from orchestrator.cli.options import FAILED, Options
from orchestrator.cli.outcome import failure_lines, look_further, outcome_line, report_files, retry_lines
from orchestrator.cli.printing import say_json, say_lines, say_sentences
from orchestrator.plan import Frontier, Plan, State, expand, make_plan
from orchestrator.plan.costs import CostModel, compiled_archs
from orchestrator.report import print_found, read_grid
from orchestrator.results import data_remarks, known_grids, other_images, read_rows
from orchestrator.run import Clock, Driver, Progress, Summary, maintenance
from orchestrator.spec import GridSpec
from orchestrator.tracking import Mirror, tracking_uri
from tasks import Node, Record
from tasks.executors import Executor, make_executor
from tasks.store import Lease, Store


def run(spec: GridSpec, store: Store, options: Options, console: Console) -> int:
    """Runs what is not finished; returns the exit code."""
    grid = expand(make_plan(spec), store)
    store.check_writable()
    _refuse_cpu_by_accident(spec, grid, store, options, console)
    say = console if not options.as_json else Console(stderr=True)
    with Lease(store, _yellow(say), share=options.share):
        return _run(spec, grid, store, options, console, say)


def _run(spec: GridSpec, grid: Plan, store: Store, options: Options, console: Console, say: Console) -> int:
    """The run itself, with the store's lease in hand. say: where lines go that are no result."""
    failures, unreadable = maintenance.readable_failures(store) if options.resume else ({}, [])
    settled = {} if options.retry_failed else _would_repeat(failures)
    warnings = [*unreadable, *_prepare(grid, store, options, failures.keys() - settled.keys())]
    if not options.resume:
        grid = make_plan(spec)  # without what earlier searches came to
    other = known_grids.remember(store, spec, grid)
    finished = store.finished()
    images = other_images(store, spec, grid, finished)
    for line in (*grid.omissions, *spec.forget.remarks, *warnings, *images, *([other] if other else [])):
        _yellow(say)(line)
    cost = cost_model(spec, grid, store, finished, allow_cpu=options.allow_cpu)
    failed = {key: record for key, record in settled.items() if key in grid.nodes}
    work = {key: cost.work(node) for key, node in grid.nodes.items()}
    frontier = Frontier(grid, work, finished, failed)
    summary = Summary(blocked=frontier.count(State.BLOCKED))
    if frontier.count(State.WAITING):
        summary = _execute(spec, grid, store, options, frontier, cost, settled, say)
    summary.failed = failed | summary.failed
    _raise_if_no_data(grid, summary)
    return _finish(spec, grid, store, options, summary, warnings, console)


def _prepare(grid: Plan, store: Store, options: Options, retried: set[str]) -> list[str]:
    """Brings the store into a state to go on from; returns what was found broken. retried: failures tried again."""
    maintenance.remove_leftovers(store)
    if not options.resume:
        for key in store.finished() & grid.nodes.keys():
            store.forget_node(key)
        return []
    _reopen_readers(store, grid, retried & grid.nodes.keys())
    broken = maintenance.quarantine_broken(store, store.finished() & grid.nodes.keys())
    return [*broken, *read_rows(store, grid.nodes.keys())[1]]


def _would_repeat(failures: dict[str, Record]) -> dict[str, Record]:
    """The failures that the same numbers give again; the others are tried again."""
    return {key: record for key, record in failures.items() if record.error_kind == "numeric"}


def _reopen_readers(store: Store, grid: Plan, retried: set[str]) -> None:
    """Selections that were made without a failed trial are made again once it is retried, and their searches."""
    children, reached = grid.children(), list(retried)
    searches = {select: search for search, select in grid.searches.items()}
    seen: set[str] = set()
    while reached:
        for child in children[reached.pop()]:
            if child not in seen:
                seen.add(child)
                reached.append(child)
                store.forget_node(child)
                if child in searches:
                    store.forget_node(searches[child])


def _refuse_cpu_by_accident(
    spec: GridSpec, grid: Plan, store: Store, options: Options, console: Console
) -> None:
    """A grid of GPU-days is not started on CPUs unless somebody says so. A cluster may bring its GPUs later."""
    elsewhere = options.executor == "ray" and (environment.ray_address() or environment.inside_ray_job())
    if not spec.needs_gpu or options.allow_cpu or torch.cuda.is_available() or elsewhere:
        return
    if not options.as_json:
        print_plan(spec, plan_facts(spec, grid, store), console)
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
    settled: dict[str, Record],
    console: Console,
) -> Summary:
    """Starts workers and tracking, and drives the workers to the end."""
    # first: it may find that nothing can run
    executor = _executor(spec, options, frontier.training_left())
    mirror = _mirror(spec, grid, store, console)
    try:
        if spec.needs_gpu and executor.capacity.gpus == 0 and not options.allow_cpu:
            raise BadInput(
                f"recipe {spec.recipe} is made for GPUs and the cluster shows none: add GPU nodes, "
                "or insist with --allow-cpu"
            )
        console.print(f"{executor.capacity.words}, store {store.uri}", highlight=False, soft_wrap=True)
        clock = Clock(options.budget)
        place = environment.make_place(spec, store.address, compiled_archs(spec, grid, cost))
        stage = _stage(spec, options)
        driver = Driver(
            spec, grid, store, place, executor, cost, clock, mirror.push, settled, stage, mirror.tell
        )
        with _graceful_stop(clock, console, driver.parting), Progress(console, frontier) as show:
            return driver.run(frontier, show)
    finally:
        executor.close()
        mirror.close()


def _stage(spec: GridSpec, options: Options) -> Callable[[Driver, list[Node]], None] | None:
    """What runs the searches of the grid's mode beside the driver's own loop, if anything does."""
    if spec.search.mode in ("grid", "halving"):
        return None
    if options.executor != "ray":
        raise BadInput(
            f"search.mode={spec.search.mode} runs on Ray Tune, without which --executor {options.executor} works: "
            "use --executor ray, or search.mode=halving"
        )
    from orchestrator.run import tune_stage

    return tune_stage


def _executor(spec: GridSpec, options: Options, training: int) -> Executor:
    """The executor, with no more slots than there are nodes to train."""
    wanted, most = spec.resources, max(training, 1)
    slots = min(wanted.slots or most, most)
    groups = environment.machines_to_come() if options.executor == "ray" else ()
    address = environment.ray_address()
    if options.executor == "ray" and not address:
        environment.make_room_for_ray()
    return make_executor(
        options.executor,
        wanted.device,
        wanted.gpus_per_slot,
        slots,
        address,
        groups,
        wanted.trials_per_gpu,
        wanted.evaluators,
    )


class _graceful_stop:  # noqa: N801  (used like a function)
    """While active, the first SIGTERM or Ctrl-C ends handing out work; the next one ends the program.

    parting: what a person should know who waits, or does not.
    """

    def __init__(self, clock: Clock, console: Console, parting: Callable[[], str]) -> None:
        self.clock, self.console, self.parting = clock, console, parting
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
        _yellow(self.console)(f"stopping: {self.parting()}")


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
    found = read_grid(store, spec, grid)
    summary.warnings += [*spec.forget.remarks, *data_remarks(store, grid)]
    said = [*warnings, *summary.warnings]
    files = report_files(spec, grid, store, said, found, thumbnails=options.thumbnails)
    code = FAILED if summary.failed else 0
    if options.as_json:
        facts = {
            "computed": summary.computed,
            "failed": sorted(summary.failed),
            "left": summary.left,
            "exit": code,
        }
        say_json(console, facts | {"report": files})
        return code
    print_found(console, found)
    console.print()
    say_sentences(console, _ending_lines(grid, store, summary, files))
    console.print()
    say_lines(console, look_further(spec, store, "run"))
    return code


def _ending_lines(grid: Plan, store: Store, summary: Summary, files: str) -> list[str]:
    """What failed, what a person should know, and what was done."""
    failed = [
        (grid.nodes[key].words if key in grid.nodes else f"{record.kind} {key[:12]}", record)
        for key, record in summary.failed.items()
    ]
    lines = failure_lines(failed, store)
    lines += retry_lines(len(failed), summary.blocked, store) if failed else []
    lines += summary.warnings
    lines += [f"report {files}"] if files.startswith("needs ") else []
    return [*lines, outcome_line(summary)]


def _mirror(spec: GridSpec, grid: Plan, store: Store, console: Console) -> Mirror:
    """The MLflow mirror; one that does nothing where tracking is off or has nowhere to go."""
    warn = _yellow(console)
    uri = tracking_uri(spec, store) if spec.tracking.enabled else None
    if spec.tracking.enabled and uri is None:
        warn(
            f"no MLflow: a remote store needs --set tracking.uri=…; `sync --store {store.uri}` catches up later"
        )
    return Mirror(uri, store, spec, grid, warn)


def _yellow(console: Console) -> Callable[[str], None]:
    return lambda line: console.print(line, style="yellow", highlight=False, soft_wrap=True)
