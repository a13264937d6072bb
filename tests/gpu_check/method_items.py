"""One epoch of every method on a tiny problem, on both devices; then in bfloat16 against float32.

In full precision both go the same way up to rounding. Quantized, one value on the other side of a rounding boundary
parts them (`quantizer_items.py` compares what is before that, layer by layer), and their losses still agree.
"""

from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import replace
from functools import cache, partial

import torch
from torch import nn

from core.models import MODELS
from core.quant import QuantSpec
from core.train import Precision, TrainParams
from core.unlearn import METHODS, Method, Problem
from core.unlearn.retrain import train_from_scratch
from tests.bench.pace_sizes import NETWORKS
from tests.core.toy_problem import AUGMENTING, CLASSES, PLAIN, suited, toy_images, toy_model
from tests.gpu_check.deviation import Deviations, Item, distance
from tests.gpu_check.quantizer_items import without_dropout_

CPU = torch.device("cpu")
BATCH, PIXELS = 16, 16
SHORT = {"epochs": 1, "batch_size": BATCH, "fisher_samples": BATCH, "iterations": 3, "lr": 0.01}
SHORT |= {"noise_images": 4, "noise_steps": 5, "pseudo_batches": 2, "student_steps": 2}
# In units of the way that the epoch went, and of its loss.
FULL_PRECISION = {"parameters": 0.1, "buffers": 0.1, "loss": 0.01}
QUANTIZED, BFLOAT16 = {"loss": 0.1}, {"loss": 0.25}

Outcome = tuple[nn.Module, list[float]]
Measure = Callable[[str, QuantSpec, Method, int], Deviations]


def method_items(device: torch.device) -> Iterator[Item]:
    """The device in float32 against the CPU; then under bfloat16 autocast against itself in float32."""
    for arch in NETWORKS:
        paper, full = MODELS[arch].paper_quant, QuantSpec()
        on_device = partial(_against_cpu, device)
        yield from _items("float32", arch, full, on_device, FULL_PRECISION)
        yield from _items("float32", arch, paper, on_device, QUANTIZED)
        yield from _items("bfloat16", arch, paper, partial(_against_float32, device), BFLOAT16)


def _items(
    precision: str, arch: str, quant: QuantSpec, measure: Measure, tolerances: Deviations
) -> Iterator[Item]:
    for method in METHODS.values():
        if precision == "float32" or "precision" in method.params.model_fields:
            name = f"method {method.name} {arch} {quant.label} {precision}"
            yield Item(name, partial(measure, arch, quant, method), tolerances)


def _against_cpu(device: torch.device, arch: str, quant: QuantSpec, method: Method, draw: int) -> Deviations:
    (expected, losses), (found, others) = (_run(arch, quant, method, d, draw) for d in (CPU, device))
    start = _suited(arch, quant, method.name).model
    trained = [name for name, _ in start.named_parameters()]
    kept = [name for name, buffer in start.named_buffers() if buffer.is_floating_point()]
    states = [model.state_dict() for model in (expected, found, start)]
    apart = (distance(*({n: s[n] for n in names} for s in states)) for names in (trained, kept))
    return dict(zip(FULL_PRECISION, (*apart, _apart(losses, others)), strict=True))


def _against_float32(
    device: torch.device, arch: str, quant: QuantSpec, method: Method, draw: int
) -> Deviations:
    _, losses = _run(arch, quant, method, device, draw)
    _, others = _run(arch, quant, method, device, draw, "bfloat16")
    return {"loss": _apart(losses, others)}


def _run(
    arch: str,
    quant: QuantSpec,
    method: Method,
    device: torch.device,
    draw: int,
    precision: Precision = "float32",
) -> Outcome:
    """The unlearned model and the losses of its epochs."""
    given = SHORT | {"precision": precision}
    params = method.params(**{k: v for k, v in given.items() if k in method.params.model_fields})
    losses: list[float] = []
    model = method.run(
        _problem(arch, quant, method, device),
        params,
        torch.Generator().manual_seed(draw),
        lambda _epoch, facts: losses.append(facts.get("loss", 0.0)),
    )
    return model, losses


def _problem(arch: str, quant: QuantSpec, method: Method, device: torch.device) -> Problem:
    known = _suited(arch, quant, method.name)
    model = deepcopy(known.model).to(device)
    forget, retain = known.forget.to(device), known.retain.to(device)
    kept = {name: tensor.to(device) for name, tensor in known.kept.items()}
    return replace(known, model=model, forget=forget, retain=retain, kept=kept, device=device)


@cache
def _suited(arch: str, quant: QuantSpec, name: str) -> Problem:
    """What a method's hook kept is of one training, on the CPU: two trainings part over their epochs."""
    return suited(_known(arch, quant), METHODS[name])


@cache
def _known(arch: str, quant: QuantSpec) -> Problem:
    """A quarter of a few images to forget, and a network without dropout that was trained on all of them."""
    images = toy_images(4 * BATCH, size=PIXELS)
    model = without_dropout_(toy_model(arch, quant))
    params = TrainParams(epochs=4, lr=0.05, batch_size=BATCH)
    train_from_scratch(model, images, PLAIN, params, torch.Generator().manual_seed(0))
    forget, retain = images.select(torch.arange(BATCH)), images.select(torch.arange(BATCH, 4 * BATCH))
    return Problem(model, forget, retain, CLASSES, AUGMENTING, CPU)


def _apart(losses: list[float], others: list[float]) -> float:
    """The largest relative difference of two runs' losses."""
    pairs = zip(losses, others, strict=True)
    return max((abs(b - a) / max(abs(a), 1e-6) for a, b in pairs), default=0.0)
