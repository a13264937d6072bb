"""Grids for faults: everything but the training is real."""

import json
from pathlib import Path

from orchestrator.spec.specification import GridSpec, SearchSpec
from tests.one_problem import digits

TWO_TRIALS = SearchSpec(trials=2)


def small(search: SearchSpec = TWO_TRIALS) -> GridSpec:
    """Two data sets, two networks, Retrain and three methods; with two trials each, 78 nodes."""
    return GridSpec.model_validate(
        digits().model_dump(mode="json")
        | {
            "recipe": "chaos",
            "datasets": ("cifar10", "svhn"),
            "archs": ("resnet18", "mobilenetv2"),
            "ratios": (0.1,),
            "methods": ("retrain", "ft", "ga", "qmul"),
            "search": search.model_dump(),
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
