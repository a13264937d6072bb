"""How far an edit moved the integer network: codes that flip and steps that drift (ALGORITHMS 6.6)."""

import copy

import pytest
import torch

from core.quant import QUANTIZERS, QuantSpec, quantizers
from core.quant.export import flip_rate, step_drift, weight_codes
from tests.core.toy_problem import FP, toy_model

LABELS = [f"4w4a-{quantizer}" for quantizer in QUANTIZERS] + ["4w-dsq-perchannel", "2w", "4a-pact"]


def stretched(model, factor):
    """A copy whose every learned range is `factor` times as wide."""
    twin = copy.deepcopy(model)
    with torch.no_grad():
        for _, quantizer in quantizers(twin):
            for parameter in quantizer.parameters():
                parameter.mul_(factor)
    return twin


@pytest.mark.parametrize("label", LABELS)
@pytest.mark.parametrize("factor", [1.0, 1.25, 0.5])
def test_drift_is_the_relative_change_of_the_steps_in_either_direction(label, factor):
    model = toy_model(quant=QuantSpec.parse(label))
    assert step_drift(model, stretched(model, factor)) == pytest.approx(abs(factor - 1), abs=1e-5)


def test_drift_is_the_mean_over_all_steps():
    model = toy_model(quant=QuantSpec.parse("4w4a"))
    twin = copy.deepcopy(model)
    with torch.no_grad():
        next(q for _, q in quantizers(twin)).step.mul_(3)
    assert step_drift(model, twin) == pytest.approx(2 / 42)


def test_moving_a_range_without_stretching_it_is_no_drift():
    model = toy_model(quant=QuantSpec.parse("4w4a-dsq"))
    twin = copy.deepcopy(model)
    with torch.no_grad():
        for _, quantizer in quantizers(twin):
            quantizer.lower.add_(1.0)
            quantizer.upper.add_(1.0)
    assert step_drift(model, twin) == pytest.approx(0, abs=1e-5)


def test_a_network_that_learns_no_step_has_no_drift():
    assert step_drift(toy_model(quant=FP), toy_model(quant=FP)) is None
    dorefa = toy_model(quant=QuantSpec.parse("4w-pact-fpends"))
    assert step_drift(dorefa, dorefa) is None


@pytest.mark.parametrize("label", [label for label in LABELS if "w" in label])
def test_flip_rate_counts_codes_that_an_edit_of_the_weights_changed(label):
    model = toy_model(quant=QuantSpec.parse(label))
    twin = copy.deepcopy(model)
    with torch.no_grad():
        twin.classifier.weight.neg_()
    before, after = weight_codes(model), weight_codes(twin)
    changed = [name for name in before if not torch.equal(before[name], after[name])]
    assert changed == ["classifier"]
    total = sum(codes.numel() for codes in before.values())
    assert 0 < flip_rate(before, after) <= before["classifier"].numel() / total
    assert flip_rate(before, before) == 0
