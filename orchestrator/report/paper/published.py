"""The paper's printed figures: every row of its nine result tables, found by a comparison's coordinates.

`published.csv` holds them as printed. Rows whose numbers contradict each other carry a note; they are shown
with it and are never a target.
"""

import csv
import re
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

from core.metrics import FIGURES
from core.models import model_info
from core.quant import QuantSpec
from orchestrator.plan import Cell

COMPARED = (*FIGURES, "ag")
_FIGURE = re.compile(rf"\b({'|'.join(COMPARED)})(?=:)")


@dataclass(frozen=True)
class Published:
    """One printed row. forget_percent: None for class-wise forgetting, whose class the paper does not name.

    weight_bits, activation_bits: None where printed as 32. figures: FA, RA, TA, MIA and AG in percent. gaps: the
    printed distances to Retrain. note: how the printed numbers contradict each other, or nothing.
    """

    table: int
    dataset: str
    arch: str
    scenario: str
    forget_percent: float | None
    quantizer: str
    weight_bits: int | None
    activation_bits: int | None
    method: str
    figures: dict[str, float]
    gaps: dict[str, float]
    note: str

    @property
    def doubtful(self) -> frozenset[str]:
        """The figures that the note is about."""
        return frozenset(_FIGURE.findall(self.note))

    @property
    def contradiction(self) -> str:
        """The note with the figures' names as the tables write them."""
        return _FIGURE.sub(lambda name: name[0].upper(), self.note)


@lru_cache
def published_rows() -> tuple[Published, ...]:
    """All rows, in the paper's order."""
    text = files("orchestrator.report.paper").joinpath("published.csv").read_text("utf-8")
    return tuple(map(_row, csv.DictReader(text.splitlines())))


def _row(line: dict[str, str]) -> Published:
    return Published(
        table=int(line["table"]),
        dataset=line["dataset"],
        arch=line["arch"],
        scenario=line["scenario"],
        forget_percent=float(line["forget_percent"]) if line["forget_percent"] else None,
        quantizer=line["quantizer"],
        weight_bits=_bits(line["weight_bits"]),
        activation_bits=_bits(line["activation_bits"]),
        method=line["method"],
        figures={name: float(line[name]) for name in COMPARED},
        gaps={name: float(line[f"{name}_gap"]) for name in FIGURES if line[f"{name}_gap"]},
        note=line["note"],
    )


def _bits(printed: str) -> int | None:
    return None if printed == "32" else int(printed)


def find_published(at: Cell) -> tuple[Published, ...]:
    """The rows printed for a method on a problem: none, one, or the same figures in several tables."""
    quant = QuantSpec.parse(at.quant)
    rows = _by_place().get((at.dataset, at.arch, at.scenario, _percent(at), at.method), ())
    return tuple(row for row in rows if _same_quantization(row, quant))


_Place = tuple[str, str, str, float | None, str]


@lru_cache
def _by_place() -> dict[_Place, tuple[Published, ...]]:
    found: dict[_Place, tuple[Published, ...]] = {}
    for row in published_rows():
        place = (row.dataset, row.arch, row.scenario, row.forget_percent, row.method)
        found[place] = (*found.get(place, ()), row)
    return found


def _percent(at: Cell) -> float | None:
    return None if at.scenario == "class" else round(100 * at.amount, 6)


def _same_quantization(row: Published, quant: QuantSpec) -> bool:
    """Equal quantizer and bits, or what the published code builds under the row that prints the paper's setting."""
    info = model_info(row.arch)
    if quant == info.released_quant:
        quant = info.paper_quant
    printed = (row.quantizer, row.weight_bits, row.activation_bits)
    return printed == (quant.quantizer, quant.weight_bits, quant.activation_bits)
