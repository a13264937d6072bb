"""Names and units as people read them: in the report, on the terminal and in MLflow."""

import json
import sys
from typing import Any

from core.data import dataset_info, listed_as, scenario_kind
from core.errors import BadInput
from core.models import MODELS
from core.quant import QUANTIZERS, QuantSpec
from core.unlearn import METHODS
from orchestrator.spec.specification import GridSpec

ORIGINAL = "original"

_TORCHVISION = "tv"  # whose networks are called by their names there
_DAY, _HOUR, _MINUTE = 86_400, 3600, 60


def title(name: str) -> str:
    """A dataset's, network's or method's name for tables; `Q-MUL (order sequential)` for a variant's label.

    `flowers, 128 px` for a folder of images, `swin_t` for a network of torchvision.
    """
    method, *options = name.split(":")
    if method == ORIGINAL:
        return f"Original ({title(':'.join(options))})" if options else "Original"
    if method in METHODS:
        words = ", ".join(option.replace("=", " ", 1) for option in options)
        return METHODS[method].title + (f" ({words})" if words else "")
    if name in MODELS:
        return MODELS[name].title
    if method == _TORCHVISION and options:
        return options[0]
    try:
        return dataset_info(name).title
    except BadInput:  # of an older grid
        return name


def explained(label: str) -> str:
    """What a method does, in the first line of its module: `GA: climb the loss of the forget set (Graves et al.)`."""
    name = label.partition(":")[0]
    if name not in METHODS:
        return "the network before unlearning" if name == ORIGINAL else ""
    module = sys.modules.get(METHODS[name].run.__module__)
    return (getattr(module, "__doc__", None) or "").strip().partition("\n")[0].rstrip(".")


def scenario(kind: str, amount: float) -> str:
    """`random 10 %`, `class 3`, or `list customer.txt, 37 images` of the scenario `list:customer.txt`."""
    if scenario_kind(kind) == "list":
        return f"list {listed_as(kind)}, {amount:,.0f} image{'' if amount == 1 else 's'}"
    return f"class {amount:g}" if kind == "class" else f"{kind} {100 * amount:g} %"


def quantization(label: str) -> str:
    """A label such as 4w4a in words."""
    spec = QuantSpec.parse(label)
    if not spec.quantizes:
        return "full precision"
    weights, activations = _bits(spec.weight_bits), _bits(spec.activation_bits)
    bits = (
        f"{weights} weights and activations"
        if weights == activations
        else f"{weights} weights, {activations} activations"
    )
    details = [QUANTIZERS[spec.quantizer].title]
    details += ["weights per channel"] if spec.granularity == "channel" else []
    details += [f"first and last layer {'8-bit' if spec.ends == 'eight_bits' else 'full-precision'}"]
    details += ["shortcuts full-precision"] if spec.shortcuts == "full_precision" else []
    details += ["published blocks"] if spec.blocks == "released" else []
    return f"{bits} ({'; '.join(details)})"


def _bits(bits: int | None) -> str:
    return "full-precision" if bits is None else f"{bits}-bit"


def duration(seconds: float) -> str:
    """Seconds in the unit that reads best: `0.42 s`, `12.3 s`, `4.1 min`, `2.6 h`, from ten days on `590 days`."""
    if seconds < 1:
        return f"{seconds:.2f} s"
    if seconds < _MINUTE:
        return f"{seconds:.1f} s"
    if seconds < _HOUR:
        return f"{seconds / _MINUTE:.1f} min"
    if seconds < 10 * _DAY:
        return f"{seconds / _HOUR:.1f} h"
    return f"{seconds / _DAY:,.0f} days"


def images(dataset: str, spec: GridSpec) -> str:
    """How many images of a dataset the grid uses."""
    info, limit = dataset_info(dataset), spec.data.limit
    parts = []
    for split, size in (("training", info.train_size), ("test", info.test_size)):
        kept = getattr(limit, "train" if split == "training" else "test", None)
        parts.append(_count(kept, size, split))
    return f"{' and '.join(parts)} images"


def _count(kept: int | None, size: int, split: str) -> str:
    """`50,000 test` or `300 of 50,000 test`; of a folder, whose size nobody knows before it is read, `all test`."""
    if not size:
        return f"all {split}" if kept is None else f"at most {kept:,} {split}"
    return f"{size:,} {split}" if kept is None or kept >= size else f"{kept:,} of {size:,} {split}"


def hyper_parameters(tried: str | None) -> str:
    """`lr 0.012 fraction 0.37` with a comma between pairs; `fixed` where nothing was searched."""
    words = (tried or "").split()
    pairs = [" ".join(words[i : i + 2]) for i in range(0, len(words), 2)]
    return ", ".join(pairs) or "fixed"


def training(params: str | None) -> str:
    """What a training from scratch did, out of its parameters' JSON: `160 epochs, lr 0.1`."""
    values: dict[str, Any] = json.loads(params) if params else {}
    parts = [f"{values['epochs']} epochs"] if "epochs" in values else []
    parts += [f"lr {values['lr']:g}"] if "lr" in values else []
    return ", ".join(parts)
