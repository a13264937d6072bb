"""Grids for faults: everything but the training is real."""

import json
from pathlib import Path

from orchestrator.recipes import digits
from orchestrator.spec import GridSpec


def small() -> GridSpec:
    """78 nodes: two data sets, two networks, Retrain and three methods of two trials."""
    return GridSpec.model_validate(
        digits().model_dump(mode="json")
        | {
            "recipe": "chaos",
            "datasets": ("cifar10", "svhn"),
            "archs": ("resnet18", "mobilenetv2"),
            "ratios": (0.1,),
            "methods": ("retrain", "ft", "ga", "qmul"),
            "search": {"trials": 2},
            "data": {},
            "widths": {},
            "tracking": {"enabled": False},
        }
    )


def write(spec: GridSpec, folder: Path) -> Path:
    """The grid as a file for --spec."""
    file = folder / "grid.yaml"  # JSON is YAML
    file.write_text(json.dumps(spec.model_dump(mode="json")))
    return file
