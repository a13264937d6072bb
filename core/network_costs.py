"""Multiply-accumulates of a network, measured by a forward pass on the meta device, which computes nothing.

Those of the networks and data sets that are here lie in network_costs.json, so that a plan is counted without building
networks: `make costs` writes it anew. Any other is measured when it is asked for.
"""

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from core.data import DATASETS
from core.errors import BadInput
from core.models import MODELS, model_info

FILE = Path(__file__).with_name("network_costs.json")
WIDTHS = (0.125, 0.25, 0.5, 1.0)  # channel multipliers in the file


def megamacs(name: str, width: float, pixels: int, classes: int) -> float:
    """10⁶ multiply-accumulates of a forward pass over one image of `pixels`².

    Raises BadInput for an unknown network, and for one that does not take images of that size.
    """
    kept = _kept().get(name, {}).get(_setting(width, pixels, classes))
    return measured(name, width, pixels, classes) if kept is None else kept


@cache
def measured(name: str, width: float, pixels: int, classes: int) -> float:
    """As `megamacs`, without the file. Convolutions, products of matrices and attention count."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    info = model_info(name)
    with torch.device("meta"):
        model = info.make(classes, width, info.paper_quant).eval()
        image = torch.empty(1, 3, pixels, pixels)
    counter = FlopCounterMode(display=False)
    try:
        with counter, torch.no_grad():
            model(image)
    except (AssertionError, RuntimeError, ValueError) as error:
        line = str(error).strip().partition("\n")[0]
        raise BadInput(f"{name} does not take images of {pixels} px ({line})") from error
    return float(counter.get_total_flops()) / 2e6  # a multiplication and an addition


def table() -> dict[str, dict[str, float]]:
    """What the file holds: by network, then by width, pixels and classes."""
    return {
        name: {
            _setting(width, *image): measured(name, width, *image)
            for width in sorted({*WIDTHS, info.width})
            for image in image_settings()
        }
        for name, info in MODELS.items()
    }


def image_settings() -> list[tuple[int, int]]:
    """(pixels, classes) of the data sets that are here."""
    return sorted({(info.pixels, info.classes) for info in DATASETS.values()})


def _setting(width: float, pixels: int, classes: int) -> str:
    """`0.5 × 32 px × 10 classes`."""
    return f"{width:g} × {pixels} px × {classes} classes"


@cache
def _kept() -> Mapping[str, Mapping[str, float]]:
    found: Mapping[str, Mapping[str, float]] = json.loads(FILE.read_text(encoding="utf-8"))
    return found


if __name__ == "__main__":
    FILE.write_text(json.dumps(table(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
