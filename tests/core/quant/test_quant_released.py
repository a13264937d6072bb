"""The published networks (ALGORITHMS 6.5), and where PACT and per-channel steps go."""

import pytest
import torch
from torch import nn

from core.data.loader import plain_batches
from core.models import MODELS, build, initialise_
from core.models.released import LearnableBias, ReleasedBlock
from core.quant import QuantSpec, quantizers
from core.quant.layers import QuantConv2d, QuantLinear
from core.quant.lsq import LSQWeight
from core.quant.pact import DoReFaWeight
from core.unlearn.influence import per_sample_products
from tests.core.toy_problem import CLASSES, FP, PLAIN, differing, seeded, toy_images, toy_model

RESNET = QuantSpec.parse("4w8a-released")


def images(count=8):
    return PLAIN.normalise(toy_images(count).pixels)


def quantized(model):
    """Names of the layers with quantizers, and of those without."""
    layers = {n: m for n, m in model.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)}
    inside = [n for n, m in layers.items() if isinstance(m, QuantConv2d | QuantLinear)]
    return inside, [n for n in layers if n not in inside]


def bits_of(layer):
    return tuple(getattr(q, "bits", None) for q in (layer.weight_quantizer, layer.input_quantizer))


def test_the_published_resnet18_quantizes_the_3x3_convolutions_of_its_blocks_alone():
    model = toy_model(quant=RESNET)
    active = {n: m for n, m in model.named_modules() if isinstance(m, QuantConv2d) and bits_of(m) == (4, 8)}
    assert len(active) == 16
    assert {m.kernel_size for m in active.values()} == {(3, 3)}
    assert all(m.bias is not None for m in active.values())
    assert len(list(quantizers(model))) == 32
    untouched = quantized(model)[1]
    assert untouched == [f"stages.{stage}.0.downsample.0" for stage in (1, 2, 3)]


def test_a_published_block_is_two_shifted_activations_and_convolutions_and_one_after_the_sum():
    block = toy_model(quant=RESNET).stages[0][0]
    assert isinstance(block, ReleasedBlock)
    half = [nn.Sequential, QuantConv2d, nn.BatchNorm2d]
    assert [type(m) for m in block.body] == half + half
    for activation in (block.body[0], block.body[3], block.activation):
        assert [type(m) for m in activation] == [LearnableBias, nn.PReLU, LearnableBias]
    x = torch.randn(2, 8, 4, 4, generator=seeded())
    after = block.body[3](block.body[:3](x))
    expected = block.activation(block.body[5](block.body[4](after)) + x)
    assert torch.equal(block(x), expected)
    assert float(block(x).detach().min()) < 0  # what the next quantizer sees is signed


def test_the_published_resnet18_has_the_parameters_of_the_table():
    """Per block of c channels: 6 shifts, 3 slopes and 2 convolution biases, each a vector, beside the usual."""
    published, plain = (build("resnet18", 10, generator=seeded(), quant=q) for q in (RESNET, FP))
    sizes = [sum(p.numel() for p in m.parameters()) for m in (published, plain)]
    first_half, rest = 3, 6 + 2  # vectors as long as the block's input, as its output
    inputs, outputs = (64, 64, 64, 128, 128, 256, 256, 512), (64, 64, 128, 128, 256, 256, 512, 512)
    assert sizes[0] - sizes[1] == first_half * sum(inputs) + rest * sum(outputs) + 32


def test_new_parameters_start_at_a_quarter_and_at_zero_and_do_so_again():
    model = toy_model(quant=RESNET)
    fresh = build("resnet18", CLASSES, generator=seeded(3), width=0.01, quant=RESNET)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3)
    initialise_(model, seeded(3))
    for module in model.modules():
        if isinstance(module, nn.PReLU):
            assert set(module.weight.tolist()) == {0.25}
        if isinstance(module, LearnableBias):
            assert not module.bias.any()
    ours, theirs = model.state_dict(), fresh.state_dict()
    moved = [name for name in differing(ours, theirs) if "input_quantizer" not in name]  # these wait for data
    assert all(name.endswith("weight_quantizer.step") for name in moved)
    for name in moved:  # another memory layout, another order of summation
        torch.testing.assert_close(ours[name], theirs[name])


def test_the_published_mobilenetv2_leaves_stem_last_convolution_and_classifier():
    model = toy_model("mobilenetv2", MODELS["mobilenetv2"].released_quant)
    bits = {n: bits_of(m) for n, m in model.named_modules() if isinstance(m, QuantConv2d | QuantLinear)}
    assert quantized(model)[1] == ["features.18.0"]
    assert bits.pop("features.0.0") == bits.pop("classifier.1") == (None, None)
    assert set(bits.values()) == {(2, None)}
    assert len(bits) == 50


@pytest.mark.parametrize("arch", MODELS)
def test_every_layer_that_a_setting_spares_exists(arch):
    names = dict(build(arch, 4, generator=seeded(), width=0.1, quant=FP).named_modules())
    for label in ("4w-fpshortcuts", "4w-released"):
        assert set(MODELS[arch].full_precision(QuantSpec.parse(label))) <= names.keys()


def test_shortcuts_alone_may_stay_full_precision():
    model = toy_model(quant=QuantSpec.parse("4w4a-fpshortcuts"))
    inside, outside = quantized(model)
    assert len(inside) == 18
    assert all("downsample" in name for name in outside)
    assert len(outside) == 3


@pytest.mark.parametrize("blocks", ["standard", "released"])
def test_full_precision_always_has_standard_blocks(blocks):
    model = build("resnet18", 4, generator=seeded(), width=0.01, quant=QuantSpec(blocks=blocks))
    assert not any(isinstance(m, ReleasedBlock) for m in model.modules())


@pytest.mark.parametrize("arch", MODELS)
def test_the_published_networks_get_finite_gradients_in_float32_and_under_autocast(arch):
    model = toy_model(arch, MODELS[arch].released_quant).train()
    for enabled in (False, True):
        model.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            logits = model(images())
        nn.functional.cross_entropy(logits.float(), torch.arange(8) % CLASSES).backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_the_published_blocks_can_be_differentiated_twice():
    model, data, generator = toy_model(quant=RESNET), toy_images(3), seeded(2)
    with torch.no_grad():  # at an input of exactly 0 PyTorch's own two derivatives of a PReLU disagree
        for module in model.modules():
            if isinstance(module, LearnableBias):
                module.bias.normal_(0, 0.1, generator=generator)
    moved = list(model.parameters())
    direction = [torch.randn(p.shape, generator=generator) for p in moved]
    found = per_sample_products(model, moved, direction, plain_batches(data, 3, PLAIN))
    loss = nn.functional.cross_entropy(model(images(3)), data.labels)
    along = sum((g * d).sum() for g, d in zip(torch.autograd.grad(loss, moved), direction, strict=True))
    torch.testing.assert_close(found.mean(), along, rtol=1e-3, atol=1e-3)


def test_other_quantizers_go_into_the_published_blocks():
    model = toy_model(quant=QuantSpec.parse("4w4a-dsq-perchannel-fpends-fpshortcuts-releasedblocks"))
    assert model(images()).isfinite().all()
    assert len(list(quantizers(model))) == 32


@pytest.mark.parametrize("arch", MODELS)
def test_steps_per_channel_are_one_for_each_output_channel(arch):
    model = toy_model(arch, QuantSpec.parse("4w4a-perchannel"))
    for layer in model.modules():
        if isinstance(layer, QuantConv2d | QuantLinear):
            expected = (len(layer.weight), *(1,) * (layer.weight.dim() - 1))
            assert layer.weight_quantizer.step.shape == expected
            assert layer.input_quantizer.step.shape == ()


def test_pact_reads_images_in_full_precision_and_nothing_else():
    model = toy_model(quant=QuantSpec.parse("4w4a-pact"))
    layers = [m for m in model.modules() if isinstance(m, QuantConv2d | QuantLinear)]
    assert bits_of(layers[0]) == (8, None)
    assert {bits_of(m) for m in layers[1:-1]} == {(4, 4)}
    assert bits_of(layers[-1]) == (8, 8)
    dark = images()
    assert float(dark.min()) < 0
    moved = torch.where(dark < 0, dark - 1, dark)
    assert not torch.equal(model(dark), model(moved))  # negative pixels still count


def test_pact_has_dorefa_weights_but_in_linear_layers():
    model = toy_model("mobilenetv2", QuantSpec.parse("4w4a-pact"))
    for layer in model.modules():
        if isinstance(layer, QuantConv2d | QuantLinear):
            kind = LSQWeight if isinstance(layer, QuantLinear) else DoReFaWeight
            assert type(layer.weight_quantizer) is kind
