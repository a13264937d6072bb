"""LSQ and the published variant: starts, signs and gradient scales (ALGORITHMS 6.1), against PyTorch's kernels."""

import math

import pytest
import torch

from core.quant.base import SMALLEST_STEP
from core.quant.lsq import LSQActivation, LSQWeight, starting_step
from core.quant.lsq_plus import LSQPlusWeight, lsq_plus
from core.quant.lsq_released import ReleasedLSQActivation
from tests.core.toy_problem import seeded

WEIGHTS = [LSQWeight, LSQPlusWeight]


def normal(*shape, seed=0):
    return torch.randn(shape, generator=seeded(seed))


def step_gradient(quantizer, x):
    """Of the sum of the quantizer's output."""
    quantizer.step.grad = None
    quantizer(x).sum().backward()
    return quantizer.step.grad


def unscaled(quantizer, x):
    """The step's gradient with g = 1."""
    step = quantizer.step.detach().clone().requires_grad_()
    lsq_plus(x, step, None, quantizer.qmin, quantizer.qmax, 1.0).sum().backward()
    return step.grad


@pytest.mark.parametrize(("bits", "in_sigma"), [(2, 1.596), (4, 0.603)])
def test_the_start_on_normal_weights_is_the_tabulated_one(bits, in_sigma):
    w = normal(200_000) * 0.3
    quantizer = LSQWeight(bits)
    quantizer.initialise_(w)
    assert quantizer.step.item() == pytest.approx(in_sigma * 0.3, rel=5e-3)
    exact = 2 * w.abs().mean() / math.sqrt(2 ** (bits - 1) - 1)
    assert quantizer.step.item() == pytest.approx(exact.item())


def test_the_start_per_channel_is_that_of_every_channel():
    w = normal(6, 5, 3, 3) * torch.arange(1, 7).view(-1, 1, 1, 1)
    quantizer = LSQWeight(4, (6, 1, 1, 1))
    quantizer.initialise_(w)
    expected = torch.stack([starting_step(channel, 7) for channel in w])
    torch.testing.assert_close(quantizer.step.detach().flatten(), expected)


def test_the_start_on_zeros_is_positive():
    quantizer = LSQActivation(4)
    quantizer.initialise_(torch.zeros(2, 3))
    assert quantizer.step.item() == pytest.approx(SMALLEST_STEP)


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_activations_are_unsigned_exactly_where_the_calibration_data_are(bits):
    unsigned, signed = LSQActivation(bits), LSQActivation(bits)
    unsigned.initialise_(normal(64).relu())
    signed.initialise_(normal(64))
    assert (unsigned.qmin, unsigned.qmax) == (0, 2**bits - 1)
    assert (signed.qmin, signed.qmax) == (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    assert unsigned.step.item() == pytest.approx(2 * normal(64).relu().mean().item() / math.sqrt(2**bits - 1))


def test_signs_survive_a_checkpoint():
    signed, fresh = LSQActivation(3), LSQActivation(3)
    signed.initialise_(normal(64))
    fresh.load_state_dict(signed.state_dict())
    x = normal(64, seed=1)
    assert torch.equal(fresh(x), signed(x))
    assert fresh.qmin == -4
    fresh.initialise_(x.relu())  # a new start decides anew
    assert fresh.qmin == 0


def test_the_published_activations_are_signed_whatever_the_data():
    quantizer = ReleasedLSQActivation(4)
    quantizer.initialise_(normal(64).relu())
    assert (quantizer.qmin, quantizer.qmax) == (-8, 7)
    assert quantizer.step.item() == pytest.approx(2 * normal(64).relu().mean().item() / math.sqrt(7))


def test_gradient_scales_count_features_of_a_sample_or_as_published_all_elements():
    x = normal(6, 4, 5, 5)
    paper, published = LSQActivation(4), ReleasedLSQActivation(4)
    for quantizer, count in ((paper, 100), (published, 600)):
        quantizer.initialise_(x)
        expected = unscaled(quantizer, x) / math.sqrt(count * quantizer.qmax)
        torch.testing.assert_close(step_gradient(quantizer, x), expected)


def test_a_step_per_channel_shares_its_gradient_scale_among_its_own_weights():
    w = normal(6, 5, 3, 3)
    quantizer = LSQWeight(4, (6, 1, 1, 1))
    quantizer.initialise_(w)
    expected = unscaled(quantizer, w) / math.sqrt(45 * 7)
    torch.testing.assert_close(step_gradient(quantizer, w), expected)


def outside_the_band(x, step, qmin, qmax):
    """x without the half steps beyond either bound, which PyTorch, rounding first, counts as inside."""
    v = x / step
    band = ((v > qmax) & (v < qmax + 0.5)) | ((v < qmin) & (v > qmin - 0.5))
    return torch.where(band, 0.0, x)


def compared(ours, theirs, x, step):
    """(values, gradient by x, gradient by step) of both, under the same random upstream gradient."""
    results = []
    for quantize in (ours, theirs):
        a, s = x.clone().requires_grad_(), step.clone().requires_grad_()
        out = quantize(a, s)
        out.backward(normal(*x.shape, seed=9))
        results.append((out.detach(), a.grad, s.grad.flatten()))
    return results


@pytest.mark.parametrize(("qmin", "qmax"), [(-2, 1), (-8, 7), (0, 15), (-128, 127)])
@pytest.mark.parametrize("g", [1.0, 0.03])
def test_pytorchs_learnable_kernel_agrees_inside_and_outside_the_range(qmin, qmax, g):
    step = torch.tensor([0.37])
    x = outside_the_band(normal(16, 9) * (9 if qmax < 100 else 50), step, qmin, qmax)
    assert all(bool(part.any()) for part in (x < step * qmin, x > step * qmax, x.abs() < step))
    ours, theirs = compared(
        lambda a, s: lsq_plus(a, s, None, qmin, qmax, g),
        lambda a, s: torch._fake_quantize_learnable_per_tensor_affine(a, s, torch.zeros(1), qmin, qmax, g),
        x,
        step,
    )
    for mine, reference in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, reference, rtol=1e-4, atol=1e-5)


def test_pytorchs_learnable_kernel_per_channel_agrees():
    step = torch.tensor([0.2, 0.31, 0.47, 1.1])
    x = outside_the_band(normal(4, 3, 5, 5) * 4, step.view(4, 1, 1, 1), -8, 7)
    ours, theirs = compared(
        lambda a, s: lsq_plus(a, s.view(4, 1, 1, 1), None, -8, 7, 0.5),
        lambda a, s: torch._fake_quantize_learnable_per_channel_affine(a, s, torch.zeros(4), 0, -8, 7, 0.5),
        x,
        step,
    )
    for mine, reference in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, reference, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", WEIGHTS)
def test_quantizing_quantized_weights_changes_nothing(kind):
    w = normal(8, 8)
    quantizer = kind(4)
    quantizer.initialise_(w)
    with torch.no_grad():
        quantizer.step.fill_(0.25)  # dyadic, so that code · step is exact
    once = quantizer(w)
    assert torch.equal(quantizer(once), once)
