"""The command: python -m tests.chaos [--only NAME]. Writes RESULTS.md beside this file."""

import os
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Annotated
from unittest.mock import patch

import typer
from rich.console import Console

from core.errors import unknown
from orchestrator.environment import code_revision
from tests.bench.surroundings import private_surroundings
from tests.chaos import cluster_faults, disk_faults, driver_faults, store_damage, tracker_faults
from tests.chaos.audit import Finding
from tests.chaos.driver_faults import Expected
from tests.chaos.drivers import Drivers

PAGE = Path(__file__).with_name("RESULTS.md")
FAULTS: dict[str, Callable[[Drivers, Path, Expected], Finding | None]] = {
    "driver": lambda d, f, e: driver_faults.killed(d, f, e, rounds=20, seed=2),
    "driver_searching": lambda d, f, _: driver_faults.killed_while_searching(d, f, rounds=20, seed=5),
    "driver_on_ray": lambda d, f, e: cluster_faults.driver_killed(d, f, e, rounds=20, seed=3),
    "terminated": lambda d, f, e: driver_faults.terminated(d, f, e, rounds=5),
    "two_drivers": driver_faults.two_at_once,
    "workers": lambda d, f, e: cluster_faults.workers_killed(d, f, e, times=20, seed=4),
    "raylet": cluster_faults.raylet_killed,
    "raylet_replaced": cluster_faults.raylet_replaced,
    "memory": cluster_faults.out_of_memory,
    "disk_full": lambda d, f, e: disk_faults.disk_gone(d, f, e, "full", times=5),
    "disk_read_only": lambda d, f, e: disk_faults.disk_gone(d, f, e, "read-only", times=5),
    "mlflow": tracker_faults.tracker_killed,
}
Only = Annotated[list[str] | None, typer.Option("--only", help=f"one of {', '.join(FAULTS)}; repeatable")]
COLUMNS = ("fault", "injected", "rows lost", "rows doubled", "finished nodes recomputed", "nodes begun again",
           "figures", "time", "")  # fmt: skip


def chaos(only: Only = None) -> None:
    """Does every fault to a running grid, lets the grid come to its end, and looks at what it cost.

    A whole run also writes RESULTS.md; with --only nothing is written. Exit code 1 if a row was lost, doubled
    or changed.
    """
    for name in only or ():
        if name not in FAULTS:
            raise typer.BadParameter(str(unknown("fault", name, FAULTS)))
    console, findings = Console(), []
    with private_surroundings() as home, patch.dict(os.environ, {"PYTHONHASHSEED": "0"}):
        folder = Path(tempfile.mkdtemp(prefix="chaos-", dir=home))
        with Drivers(folder, {}) as drivers:
            expected = driver_faults.undisturbed(drivers, folder / "undisturbed")
            for name in only or FAULTS:
                found = FAULTS[name](drivers, folder / name, expected)
                console.print(f"{name}: {found or 'cannot be done on this machine'}", highlight=False)
                findings += [found] if found else []
    if not only:
        with tempfile.TemporaryDirectory(prefix="damage-") as scratch:
            damages = store_damage.damages(Path(scratch))
        PAGE.write_text("\n".join([*page(findings), "", *store_damage.page(damages)]) + "\n")
    if not all(found.clean for found in findings):
        raise typer.Exit(1)


def page(findings: list[Finding]) -> Iterator[str]:
    """The findings as Markdown."""
    yield "# Faults"
    yield ""
    yield "Written by `python -m tests.chaos`. Each fault is really done to a running grid of 78 nodes (plan, frontier,"
    yield "executors, commits, selections and report are the project's; the nodes sleep instead of training). Then the"
    yield "grid comes to its end, by itself or by the same command again, and is compared with one nothing happened to."
    yield ""
    yield "*Begun again* are nodes whose work a fault stopped half-way. A finished node that runs again would be waste;"
    yield "two drivers at once may do that, and nothing else."
    yield ""
    yield f"{datetime.now(UTC):%Y-%m-%d}, ray {version('ray')}, mlflow {version('mlflow')}, code {code_revision()}"
    yield ""
    yield f"| {' | '.join(COLUMNS)} |"
    yield f"|{'|'.join([' --- ', *[' ---: '] * 5, ' --- ', ' ---: ', ' --- '])}|"
    for f in findings:
        numbers = (f.injected, f.lost, f.doubled, f.recomputed, f.repeated)
        same = "the same" if f.figures else "CHANGED"
        yield f"| {f.fault} | {' | '.join(map(str, numbers))} | {same} | {f.seconds:.0f} s | {f.note} |"


if __name__ == "__main__":
    typer.run(chaos)
