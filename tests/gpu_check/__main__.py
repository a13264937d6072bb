"""The command: python -m tests.gpu_check [--budget 20m] [--out DIR] [--data DIR] [--from DIR] [--take DIR]."""

import importlib
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from tests.gpu_check.stages import BUNDLE, Stage, Visit, run, stages

NEEDED = ("torch", "torchvision", "numpy", "scipy", "sklearn", "safetensors", "pyarrow", "PIL", "filelock",
          "fsspec", "jinja2", "rich", "yaml", "pydantic", "platformdirs")  # fmt: skip
PACKING = 10.0  # seconds of a visit for its last packing
AGAIN = 45.0  # seconds between two packings

Budget = Annotated[
    str | None, typer.Option(help="how long: 20m, 9.5m, 90s; without it, only --from is unpacked")
]
Out = Annotated[Path, typer.Option(help="where everything lies and goes on")]
Data = Annotated[Path | None, typer.Option(help="folder of the data sets; else .gpu/data")]
Earlier = Annotated[Path | None, typer.Option("--from", help="what an earlier visit's --take brought back")]
Take = Annotated[Path | None, typer.Option(help="folder for a few files that are enough to go on from")]
Device = Annotated[str, typer.Option(help="cuda, or cpu to see that all works")]
Recipe = Annotated[str, typer.Option(help="another grid than table 1's CIFAR-10 column")]
Settings = Annotated[list[str] | None, typer.Option("--set", help="of that grid: key=value")]
Quick = Annotated[bool, typer.Option("--quick", help="little of the first two stages: shows that all works")]


def gpu_check(
    budget: Budget = None,
    out: Out = Path("runs/gpu-check"),
    data: Data = None,
    earlier: Earlier = None,
    take: Take = None,
    device: Device = "cuda",
    recipe: Recipe = "table1",
    settings: Settings = None,
    quick: Quick = False,
) -> None:
    """Parity with the CPU, the CUDA benchmarks, then table 1's CIFAR-10 column until the time is up.

    Another visit goes on where the last one ended. Exit codes: 1 if a result is apart from the CPU's or a benchmark
    fails, 2 for bad input, 3 if nodes failed.
    """
    started = time.monotonic()
    from core.errors import BadInput
    from orchestrator.grid import seconds
    from tests.gpu_check.luggage import unpack

    try:
        for line in unpack(earlier, out) if earlier else ():
            print(line)
        _take_pace(out)
        end = started + (seconds(budget) or 0.0)
    except BadInput as error:
        _end(str(error))
    if budget is None:
        return
    _refuse_cpu_by_accident(device)
    out.mkdir(parents=True, exist_ok=True)
    root = data or (BUNDLE / "data" if (BUNDLE / "data").exists() else None)
    visit = Visit(out.absolute(), root and root.absolute(), device, recipe, tuple(settings or ()), quick)
    raise typer.Exit(_visit(stages(visit), visit.out, take, started, end))


def _take_pace(out: Path) -> None:
    """What a visit measured is what `plan` counts with from now on."""
    from orchestrator.plan.costs.paces import FILE, read_paces, write_pace
    from tests.gpu_check.benchmarks import PACES

    if (out / PACES).exists():
        for pace in read_paces(out / PACES):
            write_pace(pace)
            print(f"{FILE.name} has the pace of {pace.hardware}, measured on {pace.measured}")


def _visit(todo: list[Stage], out: Path, take: Path | None, started: float, end: float) -> int:
    """Runs the stages; returns the exit code."""
    packing, codes = _Packing(out, take), []
    until = end - (PACKING if take else 0.0)
    for stage in todo:
        begun = time.monotonic()
        limit = min(until, begun + stage.share * (end - started))
        code = run(stage, limit, packing.tick) if limit - begun > 15 else None
        took = time.monotonic() - begun
        print(f"{stage.name}: {_WORDS.get(code, f'exit code {code}')} after {took:.0f} s", flush=True)
        left = packing.now()
        codes.append(0 if code is None else code if code in (0, 2, 3) else 1)
        if stage.name == "grid" and code != 0:
            break
    if left:
        print(f"{len(left)} files do not fit into {take} and stay here ({left[0]}, …): index.json names them")
    return max(codes)


_WORDS = {0: "done", None: "time is up, the next visit goes on from here", 3: "nodes failed"}


class _Packing:
    """Packs from time to time: a machine may be taken away before its time."""

    def __init__(self, out: Path, take: Path | None) -> None:
        self.out, self.take, self.last = out, take, time.monotonic()

    def tick(self) -> None:
        if time.monotonic() - self.last > AGAIN:
            self.now()

    def now(self) -> list[str]:
        from tests.gpu_check.luggage import pack

        left = pack(self.out, self.take) if self.take else []
        self.last = time.monotonic()
        return left


def _complain_of_what_is_missing() -> None:
    missing = {}
    for name in NEEDED:
        try:
            importlib.import_module(name)
        except ImportError as error:
            missing[name] = str(error)
    if missing:
        _end(
            f"missing here: {', '.join(missing)} ({next(iter(missing.values()))}); run `make gpu-bundle` where there "
            f"is a network (for Python {sys.version_info.major}.{sys.version_info.minor}) and bring .gpu/ along"
        )


def _refuse_cpu_by_accident(device: str) -> None:
    import torch

    if device == "cuda" and not torch.cuda.is_available():
        _end("no CUDA device here; --device cpu shows that all works")


def _end(line: str) -> None:
    print(f"error: {' '.join(line.split())}", file=sys.stderr)
    raise SystemExit(2)


if __name__ == "__main__":
    sys.path.insert(0, str(BUNDLE / "python"))  # what the bundle brings for this machine's Python
    _complain_of_what_is_missing()  # before typer, which may need some of it itself
    typer.run(gpu_check)
