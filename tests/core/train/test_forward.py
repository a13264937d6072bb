"""Training without waiting for the device, and compiled: what it changes, and what it does not."""

import copy
from unittest.mock import patch

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from core.data.loader import batches
from core.errors import BadInput
from core.quant import QUANTIZERS, QuantSpec, calibrate_, fused, pact, quantize_, quantizer_faults
from core.train import forward
from core.train.forward import compile_seconds, compiled, fixed_size, plain
from core.train.loop import Callbacks, TrainParams, fit
from core.unlearn.gradient_norms import gradient_norm
from tests.core.toy_problem import FP, PLAIN, seeded, toy_images, toy_model

CPU = torch.device("cpu")
QUANTS = ("fp", *(f"4w4a-{name}" for name in QUANTIZERS), "4w4a-perchannel", "2w")
ONE_EPOCH = TrainParams(epochs=1, lr=0.05, batch_size=16)


class Waits(TorchDispatchMode):
    """Counts the operations that an accelerator's host would have to wait for."""

    NAMES = ("aten::_local_scalar_dense", "aten::nonzero", "aten::equal")

    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func.name() in self.NAMES:
            self.seen.append(func.name())
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    ("arch", "label"), [*(("resnet18", label) for label in QUANTS), ("mobilenetv2", "2w")]
)
def test_an_epoch_waits_for_the_device_once(arch, label):
    """With the kernels that CPUs use out of the way, whose bounds are plain numbers."""
    model, images = toy_model(arch, QuantSpec.parse(label)), toy_images(64)
    with (
        patch.object(fused, "one_pass", return_value=False),
        patch.object(pact, "one_pass", return_value=False),
        Waits() as waits,
    ):
        fit(model, lambda _: batches(images, 16, PLAIN, seeded()), ONE_EPOCH, seeded())
    # a seed that the host drew itself, and the epoch's mean loss
    assert waits.seen == ["aten::_local_scalar_dense"] * 2


def small_network(quant):
    """Two convolutions, a normalisation and a classifier."""
    torch.manual_seed(1)
    layers = (
        nn.Conv2d(3, 8, 3),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3),
        nn.Flatten(),
        nn.Linear(128, 4),
    )
    model = quantize_(nn.Sequential(*layers), quant)
    return calibrate_(model, normal(16))


def normal(count):
    return torch.randn((count, 3, 8, 8), generator=seeded(3))


def graph_of(model):
    """Compiled as far as autograd's graphs, without code: a break in it is an error."""
    return torch.compile(model, fullgraph=True, backend="aot_eager")


def logits_and_gradients(network, model, images):
    logits = network(images)
    loss = nn.functional.cross_entropy(logits, torch.arange(len(images)) % 4)
    return [logits.detach(), *torch.autograd.grad(loss, list(model.parameters()))]


@pytest.mark.parametrize("label", QUANTS)
def test_every_quantizer_is_one_graph_with_the_same_results(label):
    model = small_network(QuantSpec.parse(label)).train()
    twin = copy.deepcopy(model)
    expected = logits_and_gradients(twin, twin, normal(16))
    found = logits_and_gradients(graph_of(model), model, normal(16))
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_batches_of_another_size_are_never_compiled():
    seen = []
    chosen = fixed_size(lambda model, images: seen.append(len(images)) or plain(model, images), 4)
    for count in (4, 3, 4, 1):
        chosen(nn.Flatten(), normal(count))
    assert seen == [4, 4]
    assert fixed_size(plain, 4) is plain


def test_training_and_norms_use_the_forward_that_they_are_given():
    seen = []

    def spying(model, images):
        seen.append(len(images))
        return plain(model, images)

    images = toy_images(40)
    fit(
        toy_model(quant=FP),
        lambda _: batches(images, 16, PLAIN, seeded()),
        ONE_EPOCH,
        seeded(),
        callbacks=Callbacks(forward=spying),
    )
    assert seen == [16, 16]  # and 8, which is not a whole batch
    gradient_norm(toy_model(quant=FP), batches(images, 16, PLAIN, seeded()), forward=spying)
    assert seen == [16, 16, 16, 16, 8]


def refused(compile):
    compiled.cache_clear()
    with patch.object(forward.torch, "compile", compile), pytest.raises(BadInput) as caught:
        compiled(CPU)
    compiled.cache_clear()
    return str(caught.value)


def test_without_a_compiler_the_answer_is_one_line():
    def broken(*_, **__):
        raise RuntimeError("no g++\nlong story")

    assert refused(broken).endswith("cannot compile here (no g++): use off")


def test_a_compiler_that_loses_gradients_is_refused():
    """torch 2.11 did, for functions that return what they changed in place."""
    text = refused(lambda function, **_: lambda x, step: function(x, step) * 0 + x + step)
    assert text.endswith("cannot compile here (gradients of a compiled quantizer are wrong): use off")


@pytest.mark.slow
@pytest.mark.parametrize(("label", "tolerance"), [("fp", 5e-3), ("4w4a", 0.1)])
def test_compiled_training_is_plain_training_but_for_rounding(label, tolerance):
    """A quantized network's tolerance is what rounding in the sixth digit does to it, see `core.train.forward`."""
    images, curves = toy_images(128), []
    params = TrainParams(epochs=3, lr=0.02, batch_size=32)
    for how in (plain, compiled(CPU)):
        model, losses = toy_model(quant=QuantSpec.parse(label)), []
        fit(
            model,
            lambda _: batches(images, 32, PLAIN, seeded()),
            params,
            seeded(),
            callbacks=Callbacks(forward=how),
            on_epoch=lambda _, facts, losses=losses: losses.append(facts["loss"]),
        )
        assert quantizer_faults(model) == {}
        curves.append(losses)
    assert curves[1] == pytest.approx(curves[0], rel=tolerance)
    assert curves[1][-1] < curves[1][0]


@pytest.mark.slow
def test_networks_of_one_structure_share_the_compiled_code():
    first, second = toy_model(quant=FP).train(), toy_model(quant=FP, seed=5).train()
    images = PLAIN.normalise(toy_images(32).pixels)
    how = compiled(CPU)
    how(first, images).sum().backward()
    spent = compile_seconds()
    assert spent > 0
    logits = how(second, images)
    logits.sum().backward()
    assert compile_seconds() == spent
    torch.testing.assert_close(logits, toy_model(quant=FP, seed=5).train()(images), rtol=1e-3, atol=1e-3)
