"""The rows of core/CLAIMS.md's tables, computed from stored reports.

`python -m tests.claims_tables` prints them all.
"""

import csv
from collections.abc import Iterator
from pathlib import Path

from orchestrator.report.intervals import figure

FOLDER = Path(__file__).parent / "results"
CLASS, RANDOM = FOLDER / "cross_table_class.csv", FOLDER / "cross_table.csv"
SHARES, MNEMONIC = FOLDER / "amnesiac_figure.csv", FOLDER / "mnemonic.csv"
QUANTS = ("fp", "4w4a")
# the methods that the page makes claims about; one that comes later joins them when it is measured
CLAIMED = (
    "retrain", "ft", "ga", "iu", "rl", "l1_sparse", "salun", "qmul", "qmul_no_sl", "qmul_no_agr", "ssd", "sfdn",
    "scrub", "bad_teacher", "unsir", "label_flip", "partial_ascent", "rfa_lora", "mnemonic", "mnemonic_ft",
    "amnesiac",
)  # fmt: skip
COLUMNS = {CLASS: ("ef", "ta", "activation_forget", "ag"), RANDOM: ("fa", "ta", "mia", "ag")}
PLACES = {"activation_forget": 2}
WHOLE, TUNED = "amnesiac:affected=0.1", "amnesiac:affected=0.1:tune_epochs=2"
ASKED = (*((WHOLE, share) for share in (0.01, 0.05, 0.1, 0.25, 0.5, 1.0)), (TUNED, 1.0), (TUNED, 0.1))

Values = dict[str, list[float]]  # a figure's values by name, one for each seed


def read(path: Path) -> dict[str, dict[str, Values]]:
    """Figures of a report by method label, then by quantization; flip rates in percent."""
    found: dict[str, dict[str, Values]] = {}
    with path.open() as lines:
        for row in csv.DictReader(lines):
            if row["status"] != "done":
                continue
            values = found.setdefault(row["method"], {}).setdefault(row["quant"], {})
            for name in (*COLUMNS[path], "flip_rate"):
                if row[name]:
                    scale = 100 if name == "flip_rate" else 1
                    values.setdefault(name, []).append(scale * float(row[name]))
    return found


def cross_rows(path: Path) -> Iterator[str]:
    """A line for each method: figures in full precision, the same at 4w4a, and the codes that changed there."""
    for label, by_quant in read(path).items():
        cells = [_cell(by_quant.get(quant, {}), name) for quant in QUANTS for name in COLUMNS[path]]
        cells.append(_cell(by_quant.get("4w4a", {}), "flip_rate"))
        yield f"| `{label}` | " + " | ".join(cells) + " |"


def _cell(values: Values, name: str) -> str:
    """Mean and half of the 95 % interval by Student's t."""
    if name not in values:
        return "–"
    found, places = figure(values[name]), PLACES.get(name, 1)
    half = "" if found.half is None else f" ± {found.half:.{places}f}"
    return f"{found.mean:.{places}f}{half}"


def share_rows() -> Iterator[str]:
    """A line for each network: mean A_R by what was recorded of a layer, see ASKED."""
    found: dict[tuple[str, str], dict[tuple[str, float], list[float]]] = {}
    with SHARES.open() as lines:
        for row in csv.DictReader(lines):
            point = (row["series"], float(row["asked"])) if row["asked"] else ("", 0.0)
            found.setdefault((row["arch"], row["quant"]), {}).setdefault(point, []).append(float(row["ta"]))
    for (arch, quant), points in found.items():
        cells = (f"{figure(points[point]).mean:.1f}" for point in ASKED)
        yield f"| {arch} {quant} | " + " | ".join(cells) + " |"


def mnemonic_rows() -> Iterator[str]:
    """A line for each network: E_F and A_R before and after mnemonic code, seed by seed."""
    found: dict[tuple[str, str], dict[str, list[float]]] = {}
    with MNEMONIC.open() as lines:
        for row in csv.DictReader(lines):
            values = found.setdefault((row["quant"], row["method"]), {"ef": [], "ta": []})
            for name in values:
                values[name].append(float(row[name]))
    for quant in QUANTS:
        before, after = found[quant, "original:mnemonic"], found[quant, "mnemonic"]
        cells = (", ".join(f"{v:.1f}" for v in at[name]) for name in ("ef", "ta") for at in (before, after))
        yield f"| {quant} | " + " | ".join(cells) + " |"


if __name__ == "__main__":
    for made in (cross_rows(CLASS), cross_rows(RANDOM), mnemonic_rows(), share_rows()):
        print("\n".join(made), end="\n\n")
