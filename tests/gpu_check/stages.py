"""The three stages of a visit as commands, and how one is run until its time is up."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.gpu_check.ledger import ROOT

BUNDLE = ROOT / ".gpu"
GRACE, LAST = 8.0, 4.0  # seconds for a node in flight, then for what is left to tidy
COLUMN = ("0.1", "0.1,0.3", "0.1,0.3,0.5")  # table 1's ratios: each done before the next


@dataclass(frozen=True)
class Stage:
    """share: the most of the visit's budget that it may take (0-1). arguments: of `python -m`."""

    name: str
    share: float
    arguments: list[str]


@dataclass(frozen=True)
class Visit:
    """What is asked for. settings: of the grid, instead of table 1's CIFAR-10 column."""

    out: Path
    data: Path | None
    device: str
    recipe: str = "table1"
    settings: tuple[str, ...] = ()
    quick: bool = False


def stages(visit: Visit) -> list[Stage]:
    """Short ones first: what they find may make the long one pointless."""
    out = ["--out", str(visit.out)]
    parity = ["tests.gpu_check.parity", *out, "--device", visit.device]
    bench = ["tests.gpu_check.benchmarks", *out]
    if visit.quick:
        parity += ["--only", "4w4a"]
        bench += ["--quick", "--only", "training_step"]
    column = [("datasets=cifar10", f"ratios={ratios}") for ratios in COLUMN]
    return [
        Stage("parity", 0.2, parity),
        Stage("benchmarks", 0.35, bench),
        *(
            Stage("grid", 1.0, _grid(visit, given))
            for given in ([visit.settings] if visit.settings else column)
        ),
    ]


def _grid(visit: Visit, settings: tuple[str, ...]) -> list[str]:
    """keep=all: what a selection would drop and want back may be left behind between two visits."""
    always = ("tracking.enabled=false", "keep=all", f"data.cache={visit.out / 'decoded'}")
    given = (*settings, *always, f"resources.device={visit.device}")
    given += (f"data.root={visit.data}",) if visit.data else ()
    return [
        "orchestrator.grid", "run", "--executor", "inline", "--recipe", visit.recipe,
        *(word for setting in given for word in ("--set", setting)),
        "--store", str(visit.out / "store"), *(["--allow-cpu"] if visit.device == "cpu" else []),
    ]  # fmt: skip


def environment() -> dict[str, str]:
    """This process's, with the repository and the bundle's packages to import from."""
    paths = [str(ROOT), str(BUNDLE / "python"), *filter(None, [os.environ.get("PYTHONPATH")])]
    return os.environ | {"PYTHONPATH": os.pathsep.join(paths)}


def run(stage: Stage, until: float, tick: Callable[[], None]) -> int | None:
    """The stage's exit code; None if its time was up. until: on the monotonic clock. tick: called now and then."""
    command = [sys.executable, "-m", "tests.gpu_check.tied", *stage.arguments]
    with subprocess.Popen(command, cwd=ROOT, env=environment(), stdin=subprocess.PIPE) as process:
        try:
            while time.monotonic() < until - GRACE - LAST:
                try:
                    return process.wait(1.0)
                except subprocess.TimeoutExpired:
                    tick()
            return _stopped(process)
        finally:
            process.kill()


def _stopped(process: "subprocess.Popen[bytes]") -> int | None:
    """Asks a grid to hand out no more, then to drop what it is at; what is finished is in its store."""
    for patience in (GRACE, LAST):
        process.terminate()
        try:
            code = process.wait(patience)
            return code if code in (0, 1, 3) else None
        except subprocess.TimeoutExpired:
            continue
    return None
