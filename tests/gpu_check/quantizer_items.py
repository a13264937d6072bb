"""Every quantizer at every number of bits, by itself and in every network: values and gradients on both devices."""

import copy
from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor, nn

from core.models import MODELS
from core.quant import QUANTIZERS, QuantSpec, quantizer_parameters
from core.quant.base import FakeQuantizer
from tests.core.toy_problem import PLAIN, toy_images, toy_model
from tests.gpu_check.deviation import Deviations, Item, distance, largest

WEIGHT_BCHW, INPUT_BCHW = (32, 16, 3, 3), (16, 16, 8, 8)
# Elementwise arithmetic is the same everywhere, up to tanh and what sums before it decide.
ALONE = {"values": 1e-5, "gradients": 1e-4}
IN_NETWORK = {"values": 1e-5, "gradients": 1e-3}
LABELS = ("4w4a", "2w2a", "8w8a", "2w-perchannel")

Passed = tuple[Tensor, list[dict[str, Tensor]]]
Make = Callable[[], FakeQuantizer]


def quantizer_items(device: torch.device) -> Iterator[Item]:
    """Weights (a step for the tensor, or per channel; those of linear layers if they differ) and activations."""
    for name, pair in QUANTIZERS.items():
        for bits in pair.bits:
            makes: dict[str, tuple[Make, tuple[int, ...]]] = {
                "weight": (partial(pair.weight, bits, ()), WEIGHT_BCHW),
                "weight per channel": (partial(pair.weight, bits, (WEIGHT_BCHW[0], 1, 1, 1)), WEIGHT_BCHW),
                "activation": (partial(pair.activation, bits), INPUT_BCHW),
            }
            if pair.linear is not None:
                makes["linear weight"] = (partial(pair.linear, bits, ()), WEIGHT_BCHW[:2])
            for what, (make, shape) in makes.items():
                yield Item(
                    f"quantizer {name} {bits} bits {what}", partial(_alone, device, make, shape), ALONE
                )


def network_items(device: torch.device) -> Iterator[Item]:
    """Forward and backward pass of every layer of every network, under every quantizer."""
    for arch in MODELS:
        for label in ("fp", *(f"{bits}-{name}" for name in QUANTIZERS for bits in LABELS)):
            spec = QuantSpec.parse(_with_flags_last(label))
            yield Item(f"network {arch} {spec.label}", partial(_in_network, device, arch, spec), IN_NETWORK)


def _with_flags_last(label: str) -> str:
    """`2w-perchannel-lsq` as a label that can be parsed."""
    bits, *flags = label.split("-")
    return "-".join([bits, *reversed(flags)])


def _alone(device: torch.device, make: Make, shape: tuple[int, ...], draw: int) -> Deviations:
    x, upstream = (torch.randn(shape, generator=_seeded(2 * draw + n)) for n in (0, 1))
    quantizer = make()
    quantizer.initialise_(x)
    here = _pass(copy.deepcopy(quantizer), x, upstream)
    return _apart(here, _pass(quantizer.to(device), x.to(device), upstream.to(device)))


def _pass(module: nn.Module, x: Tensor, upstream: Tensor) -> tuple[Tensor, list[dict[str, Tensor]]]:
    """Output; then the gradients of the input, of the quantizers' parameters, and of the other ones."""
    x = x.clone().requires_grad_()
    out = module(x)
    named, own = dict(module.named_parameters()), quantizer_parameters(module)
    for_x, *others = torch.autograd.grad(out, [x, *named.values()], upstream)
    found = dict(zip(named, others, strict=True))
    parts = ({name: g for name, g in found.items() if (name in own) is inside} for inside in (True, False))
    return out, [{"x": for_x}, *parts]


def _apart(here: Passed, there: Passed) -> Deviations:
    gradients = (distance(a, b) for a, b in zip(here[1], there[1], strict=True))
    return {"values": largest(here[0], there[0]), "gradients": max(gradients)}


def _in_network(device: torch.device, arch: str, spec: QuantSpec, draw: int) -> Deviations:
    """The worst of the layers, each on the CPU's own input: whole networks part ways as soon as one code does.

    The gradients that come back to them are drawn, because in an untrained network much of them cancels out.
    """
    model = without_dropout_(toy_model(arch, spec, seed=draw)).train()
    apart = []
    for number, (name, x) in enumerate(_inputs(copy.deepcopy(model), draw).items()):
        layer = model.get_submodule(name)
        upstream = torch.randn(layer(x).shape, generator=_seeded(number))
        here = _pass(copy.deepcopy(layer), x, upstream)
        apart.append(_apart(here, _pass(layer.to(device), x.to(device), upstream.to(device))))
    return {what: max(found[what] for found in apart) for what in IN_NETWORK}


@torch.no_grad()
def _inputs(model: nn.Module, draw: int) -> dict[str, Tensor]:
    """What every layer reads in a training pass on the CPU."""
    inputs: dict[str, Tensor] = {}
    for name, layer in model.named_modules():
        if isinstance(layer, nn.Conv2d | nn.Linear | nn.BatchNorm2d):
            layer.register_forward_pre_hook(partial(_keep, inputs, name))
    model(PLAIN.normalise(toy_images(32, seed=draw).pixels))
    return inputs


def _keep(inputs: dict[str, Tensor], name: str, _layer: nn.Module, given: tuple[Tensor]) -> None:
    inputs[name] = given[0].clone()  # what follows works in place


def without_dropout_(model: nn.Module) -> nn.Module:
    """The model without its dropout, which draws other numbers on every device; in place."""
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    return model


def _seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)
