"""Multiply-accumulates of a network, measured by a forward pass on the meta device, and how many parameters it has.

Nothing is computed there. Those of the networks and data sets that are here lie in network_costs.json, so that a plan
is counted without building networks: `make costs` writes it anew. Any other is measured when it is asked for.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from core.data import DATASETS
from core.errors import BadInput
from core.lazy import nn, torch
from core.models import MODELS, model_info

FILE = Path(__file__).with_name("network_costs.json")
WIDTHS = (0.125, 0.25, 0.5, 1.0)  # channel multipliers in the file


def megamacs(name: str, width: float, pixels: int, classes: int) -> float:
    """10⁶ multiply-accumulates of a forward pass over one image of `pixels`².

    Raises BadInput for an unknown network, and for one that does not take images of that size.
    """
    kept = _kept()["megamacs"].get(name, {}).get(_setting(width, pixels, classes))
    return measured(name, width, pixels, classes) if kept is None else kept


def parameters(name: str, width: float, classes: int) -> int:
    """Weights and biases of a network, quantizers' steps aside; BadInput for an unknown one."""
    kept = _kept()["parameters"].get(name, {}).get(_size(width, classes))
    return counted_parameters(name, width, classes) if kept is None else int(kept)


@cache
def measured(name: str, width: float, pixels: int, classes: int) -> float:
    """As `megamacs`, without the file. Convolutions, products of matrices and attention count."""
    from torch.utils.flop_counter import FlopCounterMode

    model = _network(name, width, classes)
    with torch.device("meta"):
        image = torch.empty(1, 3, pixels, pixels)
    counter = FlopCounterMode(display=False)
    try:
        with counter, torch.no_grad():
            model(image)
    except (AssertionError, RuntimeError, ValueError) as error:
        line = str(error).strip().partition("\n")[0]
        raise BadInput(f"{name} does not take images of {pixels} px ({line})") from error
    return float(counter.get_total_flops()) / 2e6  # a multiplication and an addition


@cache
def counted_parameters(name: str, width: float, classes: int) -> int:
    """As `parameters`, without the file."""
    return sum(each.numel() for each in _network(name, width, classes).parameters())


def _network(name: str, width: float, classes: int) -> nn.Module:
    info = model_info(name)
    with torch.device("meta"):
        return info.make(classes, width, info.paper_quant).eval()


def table() -> dict[str, dict[str, dict[str, float]]]:
    """What the file holds: megamacs and parameters, by network, then by width, pixels and classes."""
    widths = {name: sorted({*WIDTHS, info.width}) for name, info in MODELS.items()}
    macs = {
        name: {
            _setting(width, *image): measured(name, width, *image)
            for width in own
            for image in image_settings()
        }
        for name, own in widths.items()
    }
    sizes: dict[str, dict[str, float]] = {
        name: {
            _size(width, classes): counted_parameters(name, width, classes)
            for width in own
            for classes in class_counts()
        }
        for name, own in widths.items()
    }
    return {"megamacs": macs, "parameters": sizes}


def image_settings() -> list[tuple[int, int]]:
    """(pixels, classes) of the data sets that are here."""
    return sorted({(info.pixels, info.classes) for info in DATASETS.values()})


def class_counts() -> list[int]:
    """Of the data sets that are here."""
    return sorted({classes for _, classes in image_settings()})


def _setting(width: float, pixels: int, classes: int) -> str:
    """`0.5 × 32 px × 10 classes`."""
    return f"{width:g} × {pixels} px × {classes} classes"


def _size(width: float, classes: int) -> str:
    """`0.5 × 10 classes`: images of any size meet the same weights."""
    return f"{width:g} × {classes} classes"


@cache
def _kept() -> Mapping[str, Mapping[str, Mapping[str, float]]]:
    found: Mapping[str, Mapping[str, Mapping[str, float]]] = json.loads(FILE.read_text(encoding="utf-8"))
    return found


if __name__ == "__main__":
    FILE.write_text(json.dumps(table(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
