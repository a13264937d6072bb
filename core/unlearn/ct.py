"""CT: transpose every convolution's kernels, and let fine-tuning repair the rest (fifth in the NeurIPS 2023 challenge).

Height and width change places, so what a kernel saw along one it now sees along the other. Fine-tuning on the retain
set follows. Deep Unlearn (Cadet et al. 2024) ranks it second of 18. A kernel's integer codes change places with its
weights and no step moves, so that a quantized network is transposed exactly.
"""

from __future__ import annotations

import copy
from typing import Annotated

from pydantic import Field

from core.data import batches
from core.errors import BadInput
from core.lazy import nn, no_grad, torch
from core.train import LearningRate, OnEpoch, Positive, fit
from core.unlearn.base import Method, Problem, UnlearnParams, lr_range
from core.unlearn.gradient_norms import gradient_probe
from core.unlearn.msg import convolutions
from core.unlearn.passes import retain_set


class CTParams(UnlearnParams):
    """The published settings, there with batches of 64."""

    epochs: Positive = 3
    lr: LearningRate = 1e-3
    weight_decay: Annotated[float, Field(ge=0)] = 5e-4


def ct(
    problem: Problem, params: CTParams, generator: torch.Generator, on_epoch: OnEpoch | None = None
) -> nn.Module:
    """Transposes, then fine-tunes; the forget set is never read. BadInput for a network without such kernels."""
    model = copy.deepcopy(problem.model)
    if transpose_kernels_(model) == 0:
        raise BadInput("CT transposes square kernels of more than one pixel, and this network has none")
    return fit(
        model,
        lambda _epoch: batches(problem.retain, params.batch_size, problem.augment, generator),
        params,
        generator,
        epoch_facts=gradient_probe(model, problem, params),
        on_epoch=on_epoch,
        callbacks=problem.callbacks,
    )


@no_grad
def transpose_kernels_(model: nn.Module) -> int:
    """Swaps height and width of every square kernel, in place; returns how many layers have such kernels.

    A kernel of one pixel is its own transpose, one that is not square would no longer fit its padding: both stay.
    """
    layers = convolutions(model, "CT transposes the kernels of convolutions").values()
    square = [layer for layer in layers if layer.kernel_size[0] == layer.kernel_size[1] > 1]
    for layer in square:
        layer.weight.copy_(layer.weight.transpose(2, 3).clone())
    return len(square)


# One rate is published; the range of FT, which it is from there on, and a decade below.
METHOD = Method("ct", "CT", CTParams, lr_range(1e-4, 1e-1), ct, passes=retain_set)
