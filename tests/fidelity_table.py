"""The rows of core/FIDELITY.md's table of effects, computed from a report of the `fidelity` recipe.

`python -m tests.fidelity_table [results.csv]` prints them.
"""

import csv
import sys
from collections.abc import Iterator
from pathlib import Path

from orchestrator.report.intervals import figure

STORED = Path(__file__).parent / "results" / "fidelity.csv"
FIGURES = ("fa", "ra", "ta", "mia", "ag")
ABLATIONS = ("qmul_no_sl", "qmul_no_agr")

Seeds = dict[str, dict[str, float]]


def read(path: Path) -> dict[str, Seeds]:
    """Figures by method label and seed."""
    found: dict[str, Seeds] = {}
    with path.open() as lines:
        for row in csv.DictReader(lines):
            if row["status"] == "done":
                figures = {name: float(row[name]) for name in FIGURES}
                found.setdefault(row["method"], {})[row["seed"]] = figures
    return found


def compared_with(label: str) -> str | None:
    """The label whose figures are subtracted: the plain method, for an ablation Q-MUL."""
    if label in ABLATIONS:
        return "qmul"
    return label.partition(":")[0] if ":" in label else None


def interval(values: list[float]) -> str:
    """Mean and half of the 95 % interval by Student's t."""
    found = figure(values)
    return f"{found.mean:.1f} ± {found.half:.1f}"


def rows(path: Path) -> Iterator[str]:
    """A line for each label: its figures, or their differences to the plain method's, seed by seed."""
    found = read(path)
    for label, seeds in found.items():
        base = compared_with(label)
        cells = [
            interval([f[name] - (found[base][seed][name] if base else 0) for seed, f in seeds.items()])
            for name in FIGURES
        ]
        if base:
            cells = [cell if cell.startswith("-") else f"+{cell}" for cell in cells]
        yield f"| `{label}` | " + " | ".join(cells).replace("-", "−") + " |"


if __name__ == "__main__":
    print("\n".join(rows(Path(sys.argv[1]) if len(sys.argv) > 1 else STORED)))
