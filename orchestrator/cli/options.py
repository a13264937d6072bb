"""The command line after parsing, and its exit codes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FAILED = 3  # exit code of a grid that ended with failed nodes


@dataclass(frozen=True)
class Export:
    """Which cell's network goes into which file, and how. cell: its coordinates, None where the grid has one alone."""

    method: str | None = None
    out: Path | None = None
    cell: Mapping[str, Any] = field(default_factory=dict)
    fold_batchnorm: bool = False
    snap_offsets: bool = False


@dataclass(frozen=True)
class Options:
    """The command line, after parsing."""

    executor: str = "ray"
    resume: bool = True
    retry_failed: bool = False
    budget: float | None = None
    allow_cpu: bool = False
    as_json: bool = False
    share: bool = False
    workers: tuple[int, ...] = ()
    port: int | None = None
    charts: bool = False
    against: str | None = None
    hardware: str | None = None
    only: tuple[str, ...] = ()
    thumbnails: bool | None = None
    export: Export = Export()
