"""Every quantizer in every network at every kind of bits: the forward pass is its codes, gradients are finite."""

import pytest
import torch

from core.models import MODELS
from core.quant import QUANTIZERS, QuantSpec, quantizers
from tests.core.toy_problem import CLASSES, PLAIN, toy_images, toy_model

BITS = ("2w2a", "3w3a", "4w4a", "8w8a", "4w", "4a")
LABELS = [f"{bits}-{q}" for q in QUANTIZERS for bits in BITS]
LABELS += [f"{bits}-{q}-perchannel" for q in QUANTIZERS for bits in ("2w2a", "4w")]


def check_grid(quantizer, inputs, out):
    """The integer form is the forward pass, and has no more values than its codes can name."""
    codes = quantizer.codes(inputs[0])
    assert codes.dtype == torch.int32
    assert quantizer.qmin <= int(codes.min()) <= int(codes.max()) <= quantizer.qmax
    assert quantizer.qmax - quantizer.qmin + 1 <= 2**quantizer.bits
    torch.testing.assert_close(quantizer.decode(codes), out, atol=1e-5, rtol=0)
    rows = out.flatten(1) if quantizer.grid()[0].dim() else out.reshape(1, -1)
    assert max(len(row.unique()) for row in rows) <= 2**quantizer.bits


@pytest.mark.parametrize("arch", MODELS)
@pytest.mark.parametrize("label", LABELS)
def test_the_grid_is_that_of_the_codes_and_every_gradient_is_finite(arch, label):
    model = toy_model(arch, QuantSpec.parse(label)).train()
    images, seen = PLAIN.normalise(toy_images(8).pixels), []
    for _, quantizer in quantizers(model):
        quantizer.register_forward_hook(check_grid)
        quantizer.register_forward_hook(lambda *_: seen.append(1))
    torch.nn.functional.cross_entropy(model(images), torch.arange(8) % CLASSES).backward()
    assert len(seen) == len(list(quantizers(model))) > 1
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
