"""`build`, which returns a network initialised and quantized."""

from pathlib import Path

import torch
from torch import nn

from core.models.init import initialise_
from core.models.networks import model_info
from core.models.weights import check_weights, load_weights_
from core.quant import QuantSpec, quantize_


def build(
    name: str,
    classes: int,
    *,
    generator: torch.Generator,
    width: float | None = None,
    quant: QuantSpec | None = None,
    weights: Path | None = None,
) -> nn.Module:
    """A fresh network on the CPU, channels-last, quantized but not calibrated.

    Args:
        name: a key of MODELS, or `tv:` and a torchvision name; BadInput otherwise.
        classes: number of logits.
        generator: CPU generator for the weights.
        width: channel multiplier; the network's paper width if None.
        quant: what to quantize; the paper's setting for this network if None. BadInput if its quantizer is
            unknown, does not take the bits, or it contradicts itself.
        weights: a local file of full-precision weights to start from, see `core.models.weights`.
    """
    info = model_info(name)
    quant = info.paper_quant if quant is None else quant
    model = info.make(classes, info.width if width is None else width, quant)
    initialise_(model, generator)
    if weights is not None:
        load_weights_(model, weights)
    quantize_(model, quant, info.full_precision(quant))
    return model.to(memory_format=torch.channels_last)


def check_weights_of(name: str, path: Path, *, width: float, quant: QuantSpec) -> None:
    """Raises BadInput, one line, unless a file has the weights that `build` would start this network from."""
    with torch.device("meta"):
        model = model_info(name).make(2, width, quant)  # the head may be for any number of classes
    check_weights(model, path)
