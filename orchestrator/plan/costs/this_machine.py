"""How fast this machine trains: a few seconds of a network of the grid, remembered in the user's cache."""

import hashlib
import json
import platform
import subprocess
import sys
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, NamedTuple

from platformdirs import user_cache_path
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from core.checkpoint import write_atomically
from core.data import dataset_info
from core.train import Precision
from orchestrator.plan.costs.paces import Device, Pace, Work, image_work, pace_of, scaled
from orchestrator.spec import GridSpec, titles

_PATIENCE = 60  # seconds for a measurement, which takes about five
_STEP = 0.5  # seconds that a measured step should take about
_PIXELS = 32  # of images that nobody has read yet


class _Measured(BaseModel):
    model_config = ConfigDict(frozen=True, allow_inf_nan=False)

    seconds: Annotated[float, Field(gt=0)]
    hardware: str
    measured: str = ""


class _Training(NamedTuple):
    """What is measured: a step of a network at its width, on a batch of images of so many pixels."""

    arch: str
    quant: str
    width: float
    pixels: int
    batch: int
    device: Device
    precision: Precision

    def arguments(self) -> list[str]:
        """Of `python -m tasks.nodes.training_speed`."""
        return [str(value) for value in self]


def pace_here(spec: GridSpec, device: Device, *, measure: bool) -> Pace | None:
    """The pace of this machine's processor or GPU: that of known hardware, scaled by one measured training step.

    measure: train for a few seconds if the cache does not know yet. None if nothing is known.
    """
    known = pace_of(device)
    training = _training_of(spec, device, known)
    found = _remembered(training) or (_measure(training) if measure else None)
    if found is None:
        return None
    expected = known.network(training.arch, training.pixels).seconds_per_image(_work(training))
    attack = known.attack
    if device == "cpu":
        attack = attack.model_copy(update={"seconds": attack.seconds * found.seconds / expected})
    what, unit = titles.title(training.arch), "one core of " if device == "cpu" else ""
    words = f"at the pace of this machine ({unit}{found.hardware}), measured with {what} on {found.measured}"
    return known.model_copy(
        update={
            "hardware": found.hardware,
            "measured": found.measured,
            "networks": scaled(known.networks, found.seconds / expected),
            "attack": attack,
            "words": words,
        }
    )


def _training_of(spec: GridSpec, device: Device, known: Pace) -> _Training:
    """The grid's first network on its first images, in batches that take about half a second."""
    arch, info = spec.archs[0], dataset_info(spec.datasets[0])
    whole = _Training(
        arch,
        spec.quant_specs(arch)[0].label,
        spec.width(arch),
        info.pixels or _PIXELS,
        spec.original_params().batch_size,
        device,
        spec.precision,
    )
    expected = known.network(arch, whole.pixels).seconds_per_image(_work(whole))
    return whole._replace(batch=max(4, min(whole.batch, round(_STEP / expected))))


def _work(training: _Training) -> Work:
    return image_work(training.arch, training.width, training.pixels, training.batch)


def _file(training: _Training) -> Path:
    """Where this machine's measurement is kept; a home may be that of several machines."""
    identity = [platform.node(), _processor(), version("torch"), *training.arguments()]
    digest = hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:16]
    return user_cache_path("unlearn-grid") / "paces" / f"{digest}.json"


def _processor() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()


def _remembered(training: _Training) -> _Measured | None:
    try:
        return _Measured.model_validate_json(_file(training).read_bytes())
    except (OSError, ValidationError):
        return None


def _measure(training: _Training) -> _Measured | None:
    """Trains in a process of its own, so that planning needs no torch; None if that fails."""
    command = [sys.executable, "-m", "tasks.nodes.training_speed", *training.arguments()]
    try:
        done = subprocess.run(command, capture_output=True, check=True, timeout=_PATIENCE, text=True)
        found = _Measured.model_validate_json(done.stdout.splitlines()[-1])
    except (OSError, subprocess.SubprocessError, ValidationError, IndexError):
        return None
    found = found.model_copy(update={"measured": f"{datetime.now(UTC):%Y-%m-%d}"})
    with suppress(OSError):  # a home that cannot be written is measured again
        write_atomically(_file(training), found.model_dump_json().encode())
    return found
