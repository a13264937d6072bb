"""How long a finished grid takes to say that it is finished."""

import io
import json
import subprocess
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from functools import partial
from pathlib import Path

from orchestrator import grid
from orchestrator.plan.grid_plan import make_plan
from orchestrator.spec.specification import GridSpec
from tests.bench.measure import Comparison, Effort, side_by_side
from tests.bench.surroundings import ROOT, as_in_a_node, private_surroundings
from tests.one_problem import digits

IMPORTS, UNTRACKED, TRACKED = "python -c 'import torch'", "run, tracking off", "run, tracking on"
Command = Callable[[list[str]], str]  # arguments of orchestrator.grid to what it printed


def resume(effort: Effort) -> list[Comparison]:
    """A second `python -m orchestrator.grid run` on a finished grid of tiny digits, Python's start included.

    With nothing left to compute it checks the store, writes the report and prints the table; neither Ray
    nor MLflow starts. Importing torch in a new process is the floor under it.
    """
    spec = small_grid(effort)
    command = _here if effort.tiny else _in_a_new_process
    with private_surroundings() as folder, as_in_a_node():
        arguments = _finished_grid(spec, folder, command)
        variants: dict[str, Callable[[], object]] = {
            UNTRACKED: partial(_again, command, [*arguments, "--set", "tracking.enabled=false"]),
            TRACKED: partial(_again, command, arguments),
        }
        if not effort.tiny:
            variants = {IMPORTS: _import_torch} | variants
        # the grid's first run has warmed the files
        seconds = side_by_side(variants, min(effort.repeats, 5), warm_ups=0)
    case = f"{len(make_plan(spec).nodes)} nodes on a local store"
    return [Comparison("resume", case, "run", seconds, baseline=None if effort.tiny else IMPORTS)]


def small_grid(effort: Effort) -> GridSpec:
    """The digits recipe on 120 images, an epoch of everything."""
    methods = ("ft",) if effort.tiny else ("ft", "ga", "rl", "salun", "qmul")
    brief = {"epochs": 1, "batch_size": 32}
    values = digits().model_dump(mode="json") | {
        "methods": ("retrain", *methods),
        "original": brief,
        "retrain": brief,
        "params": dict.fromkeys(methods, brief),
        "data": {"limit": {"train": 120, "test": 60}},
        "search": {"trials": 1 if effort.tiny else 3},
        "tracking": {"enabled": not effort.tiny},  # MLflow's first start takes seconds
    }
    return GridSpec.model_validate(values)


def _finished_grid(spec: GridSpec, folder: Path, command: Command) -> list[str]:
    """Runs the grid once; returns the arguments that resume it."""
    file = folder / "grid.yaml"  # JSON is YAML
    file.write_text(json.dumps(spec.model_dump(mode="json")))
    arguments = ["run", "--spec", str(file), "--store", str(folder / "store")]
    command([*arguments, "--executor", "inline"])
    return arguments


def _again(command: Command, arguments: list[str]) -> None:
    said = command(arguments)
    assert "nothing left to compute" in said, said


def _in_a_new_process(arguments: list[str]) -> str:
    return _python("-m", "orchestrator.grid", *arguments)


def _here(arguments: list[str]) -> str:
    """In this process: no Python to start, so quick, and its time says nothing."""
    with redirect_stdout(io.StringIO()) as said:
        code = grid.main(arguments)
    assert code == 0, said.getvalue()
    return said.getvalue()


def _import_torch() -> None:
    _python("-c", "import torch")


def _python(*arguments: str) -> str:
    done = subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout
