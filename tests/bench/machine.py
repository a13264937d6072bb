"""What the numbers were measured on."""

import os
import platform
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from orchestrator.environment import code_revision

Facts = dict[str, str | int]


def facts() -> Facts:
    """Date, hardware, versions and code; nothing that names the machine, its user or its folders."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "load_before": _load(),
        "gpu": gpu,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "ray": _ray(),
        "code": code_revision(),
    }


def _ray() -> str:
    try:
        return version("ray")
    except PackageNotFoundError:  # not on every GPU machine, and not needed by what measures GPUs
        return "none"


def _load() -> str:
    """Runnable processes, the mean of the last minute: 0 on a quiet machine."""
    return f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown"


def _cpu_model() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    named = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or platform.machine())
