"""Where a row comes from: the node's coordinates, the code, the hardware and the time."""

from __future__ import annotations

import json
import os
import platform
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path

from core.lazy import torch
from tasks.job import Job
from tasks.record import Record

COORDINATES = (
    "dataset",
    "arch",
    "quant",
    "scenario",
    "amount",
    "method",
    "seed",
    "protocol",
    "select_on",
    "tried",
)


def base_record(job: Job) -> Record:
    """A row with the node's coordinates and provenance only."""
    inputs, device = job.node.inputs, "cuda" if torch.cuda.is_available() else "cpu"
    return Record(
        key=job.node.key,
        kind=job.node.kind,
        params=_json_or_none(inputs.get("params")),
        code_revision=job.place.code_revision,
        hardware=hardware_of(device if job.place.device == "auto" else job.place.device),
        versions=f"torch {torch.__version__}",
        shadow=inputs["shadow"]["number"] if "shadow" in inputs else None,
        **{name: inputs[name] for name in COORDINATES if name in inputs},
    )


def now() -> datetime:
    """The time of day, with its zone."""
    return datetime.now(UTC)


def _json_or_none(value: object) -> str | None:
    return None if value is None else json.dumps(value, sort_keys=True)


@lru_cache(maxsize=4)
def hardware_of(device: str) -> str:
    """What did the work, in words."""
    if device == "cuda" and torch.cuda.is_available():
        return str(torch.cuda.get_device_name())
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), None)
    return f"{model or platform.processor() or platform.machine()}, {os.cpu_count()} CPUs"
