"""Where an exported network does not measure what the fake-quantized one does: sentences beneath a table."""

from collections.abc import Mapping, Sequence

from core.metrics import FIGURES
from orchestrator.results import Entry, Row
from orchestrator.spec import titles
from tasks import DECIDED_ALIKE

ROUNDING = 99.9  # percent of images decided alike, which float rounding between the convolutions accounts for


def export_notes(methods: Mapping[str, Sequence[Entry]]) -> list[str]:
    """How far the exported networks of a table agree, and each that does not, with what it measures instead."""
    rows = [entry.row for entries in methods.values() for entry in entries if entry.row]
    found = [row for row in rows if row.get(DECIDED_ALIKE) is not None]
    if not found:
        return []
    least, apart = min(row[DECIDED_ALIKE] for row in found), max(map(_apart, found))
    notes = [
        f"Exported to ONNX and run by onnxruntime, {len(found)} of these networks decide at least {least:.2f} % of all"
        f" images as they did; FA, RA, TA and MIA move by at most {apart:.2f} points"
    ]
    return notes + [_defect(row) for row in found if row[DECIDED_ALIKE] < ROUNDING]


def _apart(row: Row) -> float:
    return max(abs(row[f"{name}_exported"] - row[name]) for name in FIGURES)


def _defect(row: Row) -> str:
    figures = ", ".join(f"{name.upper()} {row[name]:.2f} → {row[f'{name}_exported']:.2f}" for name in FIGURES)
    return (
        f"≠ {titles.title(row['method'])}, seed {row['seed']}: its exported network decides only"
        f" {row[DECIDED_ALIKE]:.2f} % as it did, more than rounding accounts for: {figures}"
    )
