"""How long commands that train nothing take, and how much memory, from Python's start to its end."""

import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from statistics import median

from orchestrator.results.known_grids import remember
from orchestrator.spec.recipes import digits
from tasks.store.store import Store
from tests.bench.measure import Comparison, Effort, Target, side_by_side
from tests.bench.surroundings import ROOT, private_surroundings
from tests.orchestrator.fake_results import Fake, small_spec

START, LIMIT, MOST = "python -c pass", 1.5, 250.0  # seconds, MiB
# VmHWM is of the program alone; what `wait` tells counts its parent's memory, too
_COMMAND = """
import atexit, sys
from pathlib import Path
def tell():
    lines = Path("/proc/self/status").read_text().splitlines() if sys.platform == "linux" else []
    peak = [int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")]
    print(*peak, file=sys.stderr)
atexit.register(tell)
if len(sys.argv) > 1:
    from orchestrator.grid import main
    sys.exit(main(sys.argv[1:]))
"""


def commands(effort: Effort) -> list[Comparison]:
    """`status` on a finished store, whose rows are made up, and `plan --recipe full`, each in a process of its own.

    Neither needs torch, pandas or MLflow, and neither loads them. Python's own start is the floor under both.
    """
    with private_surroundings() as folder, tempfile.TemporaryDirectory(prefix="status-") as place:
        fake = Fake(Store(place), small_spec() if effort.tiny else digits())
        fake.fill()
        remember(fake.store, fake.spec, fake.plan)
        status = ("status", "--store", place)
        plan = ("plan", "--recipe", "full", "--store", str(folder / "store"))
        return [
            _measured(effort, f"status, {len(fake.rows)} rows", status),
            _measured(effort, "plan --recipe full", plan),
        ]


def _measured(effort: Effort, name: str, arguments: tuple[str, ...]) -> Comparison:
    """The command's seconds as a comparison, and its peak memory in the words above it."""
    peaks: list[float] = []
    variants: dict[str, Callable[[], object]] = {
        START: partial(_peak),
        name: lambda: peaks.append(_peak(*arguments)),
    }
    seconds = side_by_side(variants, effort.repeats)
    case = f"{name}: peak memory {median(peaks):.0f} MiB, {min(peaks):.0f} to {max(peaks):.0f} (≤ {MOST:.0f})"
    return Comparison("commands", case, "run", seconds, target=Target(name, "seconds", LIMIT))


def _peak(*arguments: str) -> float:
    """Runs a command to its end, or nothing; returns the largest resident memory in MiB, 0 where nobody tells it."""
    command = [sys.executable, "-c", _COMMAND, *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return float(done.stderr.split()[-1]) if sys.platform == "linux" else 0.0
