"""The command: python -m tests.bench [--only NAME] [--quick] [--write-paces]."""

import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from core.errors import unknown
from orchestrator.plan.costs.paces import FILE, write_pace
from tests.bench.machine import facts
from tests.bench.measure import FULL, QUICK, Comparison
from tests.bench.output import JSON_FILE, PAGE, print_tables, write
from tests.bench.paces import NEEDED, measured_pace
from tests.bench.suite import BENCHMARKS

HERE = Path(__file__).parent
Only = Annotated[list[str] | None, typer.Option("--only", help=f"one of {', '.join(BENCHMARKS)}; repeatable")]
Quick = Annotated[bool, typer.Option("--quick", help="one round at the smallest sizes: shows that all works")]

WritePaces = Annotated[
    bool,
    typer.Option(
        "--write-paces", help=f"with --only: keep this machine's pace; needs {' and '.join(NEEDED)}"
    ),
]


def bench(only: Only = None, quick: Quick = False, write_paces: WritePaces = False) -> None:
    """Measures what should be fast, side by side, and prints medians and ratios.

    A whole run also writes results.json and RESULTS.md beside this file, and the machine's pace, which `plan`
    counts with, to orchestrator/plan/costs/paces.json; with --only or --quick nothing is written, except the pace by
    --write-paces. A missed target is shown, never an error: times depend on what else the machine does.
    """
    for name in only or ():
        if name not in BENCHMARKS:
            raise typer.BadParameter(str(unknown("benchmark", name, BENCHMARKS)))
    if write_paces and (quick or not set(NEEDED) <= set(only or BENCHMARKS)):
        raise typer.BadParameter(f"--write-paces needs {' and '.join(NEEDED)} at full size")
    console, machine = _console(), facts()
    effort = QUICK if quick else FULL
    results: list[Comparison] = []
    for name in only or BENCHMARKS:
        start = time.perf_counter()
        results += BENCHMARKS[name](effort)
        console.print(f"{name} took {time.perf_counter() - start:.0f} s", style="dim", highlight=False)
    print_tables(results, console)
    whole = not only and not quick
    if whole or write_paces:
        write_pace(measured_pace(results, machine))
        console.print(f"written: {FILE.name}")
    if whole:
        write(results, machine, BENCHMARKS, HERE)
        console.print(f"written: {JSON_FILE}, {PAGE}")


def _console() -> Console:
    """The terminal, or, where the output goes elsewhere, lines long enough for a row."""
    console = Console()
    return console if console.is_terminal else Console(width=120)


if __name__ == "__main__":
    typer.run(bench)
