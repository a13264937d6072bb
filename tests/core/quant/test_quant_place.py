"""Quantizers in a network: where they go, how they start, how they survive, what the integers are (6.5, 6.6)."""

import copy

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from core.checkpoint import load, save
from core.errors import BadInput
from core.models import build
from core.quant import (
    FakeQuantizer,
    QuantSpec,
    calibrate_,
    keep_valid_,
    quantize_,
    quantizer_faults,
    quantizer_parameters,
    quantizers,
)
from core.quant.base import SMALLEST_STEP
from core.quant.export import flip_rate, weight_codes
from core.quant.layers import QuantConv2d, QuantLinear
from tests.core.toy_problem import FP, PLAIN, W4A4, differing, seeded, state_of, toy_images, toy_model

SPECS = [
    QuantSpec(weight_bits=w, activation_bits=a, ends=ends)
    for w, a in ((4, 4), (2, None), (None, 8), (3, 5))
    for ends in ("eight_bits", "full_precision")
]


def images(seed=0):
    return PLAIN.normalise(toy_images(16, seed).pixels)


def bits_of(model):
    """(weight bits, activation bits) of every convolution and linear layer, in order."""
    layers = [m for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    return [tuple(getattr(q, "bits", None) for q in (m.weight_quantizer, m.input_quantizer)) for m in layers]


@pytest.mark.parametrize(
    ("label", "spec"),
    [
        ("4w4a", W4A4),
        ("2w", QuantSpec(weight_bits=2)),
        ("8a", QuantSpec(activation_bits=8)),
        ("fp", FP),
        ("4w4a-fpends", QuantSpec(weight_bits=4, activation_bits=4, ends="full_precision")),
        ("2w-pact", QuantSpec(weight_bits=2, quantizer="pact")),
        (
            "2w3a-pact-fpends",
            QuantSpec(weight_bits=2, activation_bits=3, quantizer="pact", ends="full_precision"),
        ),
    ],
)
def test_labels_are_written_and_read_back(label, spec):
    assert spec.label == label
    assert QuantSpec.parse(label) == spec


def test_the_default_quantizer_may_be_named():
    assert QuantSpec.parse("4w4a-lsq_plus") == W4A4


@pytest.mark.parametrize("label", ["", "w4a4", "4w 4a", "a", "4", "-pact", "4w4a-", "4a4w", "fp-pact"])
def test_malformed_labels_are_bad_input(label):
    with pytest.raises(BadInput, match="is not a setting"):
        QuantSpec.parse(label)


@pytest.mark.parametrize(("label", "nearest"), [("1w", 2), ("4w9a", 8), ("0a", 2), ("16w16a", 8)])
def test_bits_outside_2_to_8_name_the_nearest_valid_number(label, nearest):
    with pytest.raises(BadInput, match=f"nearest: {nearest}"):
        QuantSpec.parse(label)


@pytest.mark.parametrize("bits", [1, 9])
def test_the_spec_itself_refuses_bits_outside_2_to_8(bits):
    with pytest.raises(ValidationError):
        QuantSpec(weight_bits=bits)


def test_unknown_quantizer_names_the_nearest():
    with pytest.raises(BadInput, match="did you mean 'lsq_plus'"):
        quantize_(nn.Sequential(nn.Linear(2, 2)), QuantSpec(weight_bits=4, quantizer="lsq_pluss"))


def test_full_precision_leaves_the_model_alone():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4, 2))
    before = list(model.children())
    assert quantize_(model, FP) is model
    assert list(model.children()) == before


@pytest.mark.parametrize("arch", ["resnet18", "mobilenetv2"])
def test_every_inner_layer_has_the_bits_and_the_ends_have_eight(arch):
    bits = bits_of(build(arch, 4, generator=seeded(), width=0.1, quant=QuantSpec.parse("3w5a")))
    assert (bits[0], bits[-1]) == ((8, 8), (8, 8))
    assert set(bits[1:-1]) == {(3, 5)}


def test_ends_may_stay_full_precision():
    spec = QuantSpec(weight_bits=4, activation_bits=4, ends="full_precision")
    bits = bits_of(toy_model(quant=spec))
    assert (bits[0], bits[-1]) == ((None, None), (None, None))
    assert set(bits[1:-1]) == {(4, 4)}


def test_weights_alone_leave_every_input_full_precision():
    bits = bits_of(toy_model("mobilenetv2"))  # the paper's 2w
    assert bits[0] == bits[-1] == (8, None)
    assert set(bits[1:-1]) == {(2, None)}


def test_quantized_layers_share_the_weight_and_compute_what_the_layer_did():
    plain = nn.Sequential(nn.Conv2d(3, 6, 3, stride=2, padding=1, groups=3), nn.Flatten(), nn.Linear(96, 4))
    weights = [plain[0].weight, plain[2].weight]
    quantized = quantize_(copy.deepcopy(plain), QuantSpec(weight_bits=8))
    same = quantize_(plain, QuantSpec(weight_bits=8))
    assert same[0].weight is weights[0]
    assert same[2].weight is weights[1]
    reference = nn.functional.conv2d(
        images(), quantized[0].weight_quantizer(weights[0]), quantized[0].bias, 2, 1, 1, 3
    )
    assert torch.equal(quantized[0](images()), reference)


def test_an_uncalibrated_activation_quantizer_refuses_to_run():
    model = build("resnet18", 4, generator=seeded(), width=0.01)
    with pytest.raises(RuntimeError, match="calibrate_"):
        model.eval()(images())
    assert set(quantizer_faults(model).values()) == {"not initialised"}


def test_calibration_moves_neither_buffers_nor_modes_nor_weights():
    model = build("resnet18", 4, generator=seeded(), width=0.01)
    model.stages[1].eval()
    modes = [m.training for m in model.modules()]
    before = state_of(model)
    calibrate_(model, images())
    assert [m.training for m in model.modules()] == modes
    moved = differing(before, model)
    assert moved
    assert all(".input_quantizer." in name for name in moved)
    assert quantizer_faults(model) == {}


def test_calibration_restores_the_model_when_the_forward_pass_fails():
    model = build("resnet18", 4, generator=seeded(), width=0.01)
    with pytest.raises(RuntimeError):
        calibrate_(model, torch.zeros(2, 5, 8, 8))  # five channels
    assert model.training
    assert not any(m._forward_pre_hooks for m in model.modules())


def test_calibration_makes_each_quantizer_fit_the_input_it_receives():
    model = toy_model(quant=QuantSpec(weight_bits=8, activation_bits=8)).train()
    relative = []

    def measure(_quantizer, inputs, out):
        relative.append(float(((out - inputs[0]).norm() / inputs[0].norm()).detach()))

    for layer in model.modules():
        if isinstance(layer, QuantConv2d | QuantLinear):
            layer.input_quantizer.register_forward_hook(measure)
    model(PLAIN.normalise(toy_images(32).pixels))  # the calibration batch, under batch statistics
    assert len(relative) == 21
    assert max(relative) < 0.03


@pytest.mark.parametrize("spec", SPECS, ids=lambda s: s.label)
def test_a_checkpoint_survives_and_nothing_starts_over(spec, tmp_path):
    model = toy_model(quant=spec)
    with torch.no_grad():
        for name in quantizer_parameters(model):
            model.get_parameter(name).mul_(1.5)  # steps that no initialisation would choose
    save(tmp_path, model, {})
    fresh = build("resnet18", 4, generator=seeded(5), width=0.01, quant=spec)
    fresh.load_state_dict(load(tmp_path)[0])
    assert differing(fresh, model) == []
    assert quantizer_faults(fresh) == {}
    before = state_of(fresh)
    fresh.eval()
    with torch.no_grad():
        first, second = fresh(images(3)), fresh(images(3))
        assert torch.equal(first, second)
        assert torch.equal(first, model(images(3)))
        fresh.train()(images(3))
    assert all("running" in n or "tracked" in n for n in differing(before, fresh))  # BN follows, no quantizer


def test_a_deep_copy_is_ready_and_independent():
    model = toy_model()
    twin = copy.deepcopy(model)
    with torch.no_grad():
        next(q for _, q in quantizers(twin)).step.mul_(2)
    assert len(differing(model, twin)) == 1
    assert twin(images()).isfinite().all()


def test_loading_an_uninitialised_state_makes_the_quantizer_refuse_again():
    model = toy_model()
    model.load_state_dict(build("resnet18", 4, generator=seeded(), width=0.01).state_dict())
    with pytest.raises(RuntimeError, match="calibrate_"):
        model(images())


def test_every_quantized_tensor_has_at_most_2_to_the_b_values():
    model = toy_model()
    counts = []
    for _, quantizer in quantizers(model):
        quantizer.register_forward_hook(lambda q, _args, out: counts.append((len(out.unique()), 2**q.bits)))
    model(images())
    assert len(counts) == 42
    assert all(found <= allowed for found, allowed in counts)


def test_the_integer_network_is_the_fake_quantized_one():
    model = toy_model()
    for layer in model.modules():
        if isinstance(layer, QuantConv2d | QuantLinear):
            q = layer.weight_quantizer
            torch.testing.assert_close(q(layer.weight), q.codes(layer.weight) * q.step, atol=1e-5, rtol=0)
    codes = weight_codes(model)
    assert len(codes) == 21
    assert {c.dtype for c in codes.values()} == {torch.int32}


def test_a_latent_change_below_the_rounding_boundary_is_invisible():
    model = toy_model().eval()
    before, codes = model(images()), weight_codes(model)
    moved = 0
    with torch.no_grad():
        for layer in model.modules():
            if isinstance(layer, QuantConv2d | QuantLinear):
                step = layer.weight_quantizer.step
                v = layer.weight / step
                room = (v - v.floor() - 0.5).abs() * step  # distance to the nearest rounding boundary
                sign = torch.where(torch.rand(v.shape, generator=seeded(1)) < 0.5, -1.0, 1.0)
                layer.weight.add_(sign * room * 0.49)
                moved += int((room > 0).sum())
    assert moved > 1000
    assert torch.equal(model(images()), before)
    assert flip_rate(codes, weight_codes(model)) == 0


def test_flip_rate_is_the_share_of_changed_codes():
    model = toy_model()
    codes = weight_codes(model)
    total = sum(c.numel() for c in codes.values())
    with torch.no_grad():
        layer = model.classifier
        v = layer.weight / layer.weight_quantizer.step
        layer.weight[0, 0] += torch.where(v[0, 0] > 0, -1, 1) * layer.weight_quantizer.step
    assert flip_rate(codes, weight_codes(model)) == pytest.approx(1 / total)
    assert flip_rate({}, {}) is None


def test_keep_valid_lifts_a_step_that_fell_below_zero():
    model = toy_model()
    quantizer = next(q for _, q in quantizers(model))
    with torch.no_grad():
        quantizer.step.fill_(-0.5)
    assert list(quantizer_faults(model).values()) == ["step is not positive"]
    keep_valid_(model)
    assert quantizer.step.item() == pytest.approx(SMALLEST_STEP)
    assert quantizer_faults(model) == {}


def test_a_step_that_is_not_finite_is_a_fault():
    model = toy_model()
    name, quantizer = next(iter(quantizers(model)))
    with torch.no_grad():
        quantizer.step.fill_(torch.nan)
    assert quantizer_faults(model) == {name: "not finite"}


def test_quantizer_parameters_are_the_steps_and_offsets():
    model = toy_model()
    names = quantizer_parameters(model)
    assert len(names) == 21 * 3  # 21 layers: weight step, input step, input offset
    assert {n.rpartition(".")[2] for n in names} == {"step", "offset"}
    assert all(isinstance(model.get_submodule(n.rpartition(".")[0]), FakeQuantizer) for n in names)
