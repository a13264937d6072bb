"""LSQ+ forward and backward against the formulas (ALGORITHMS 6.1, 6.2)."""

import math

import pytest
import torch
from hypothesis import given, settings, strategies as st

from core.quant.base import SMALLEST_STEP, integer_range
from core.quant.lsq_plus import LSQPlusActivation, LSQPlusWeight, least_squares_start, lsq_plus

TABLE_X = [-9.0, -8.0, -0.4, 0.6, 7.0, 8.2]


def gradients(x, step, offset, qmin, qmax, g=1.0, upstream=None):
    """(xq, d/dx, d/dstep, d/doffset) under the upstream gradient (ones)."""
    inputs = [t.clone().requires_grad_() for t in (x, step) if t is not None]
    shift = None if offset is None else offset.clone().requires_grad_()
    out = lsq_plus(*inputs, shift, qmin, qmax, g)
    out.backward(torch.ones_like(out) if upstream is None else upstream)
    return out.detach(), inputs[0].grad, inputs[1].grad, None if shift is None else shift.grad


def naive(x, s, beta, qmin, qmax):
    """One element, from the formulas: value, and its derivatives by x, s and β."""
    v = (x - beta) / s
    if v < qmin:
        return s * qmin + beta, 0.0, float(qmin), 1.0
    if v > qmax:
        return s * qmax + beta, 0.0, float(qmax), 1.0
    return s * round(v) + beta, 1.0, round(v) - v, 0.0  # Python's round is half to even, too


def test_integer_ranges():
    assert integer_range(4, signed=True) == (-8, 7)
    assert integer_range(2, signed=True) == (-2, 1)
    assert integer_range(4, signed=False) == (0, 15)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])  # the fused and the general path
def test_the_table_of_section_6_1(dtype):
    x = torch.tensor(TABLE_X, dtype=dtype)
    out, dx, _, _ = gradients(x, torch.ones((), dtype=dtype), None, -8, 7)
    assert out.tolist() == [-8, -8, 0, 1, 7, 7]
    assert dx.tolist() == [0, 1, 1, 1, 1, 0]
    each = [gradients(e.reshape(1), torch.ones((), dtype=dtype), None, -8, 7)[2].item() for e in x]
    assert each == pytest.approx([-8, 0, 0.4, 0.4, 0, 7], abs=1e-6)


def test_ties_round_to_even():
    x = torch.tensor([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5])
    assert lsq_plus(x, torch.tensor(1.0), None, -8, 7, 1.0).tolist() == [-2, -2, 0, 0, 2, 2]


def test_no_offset_equals_offset_zero():
    x = torch.randn(64, generator=torch.Generator().manual_seed(0)) * 4
    step = torch.tensor(0.7)
    without, with_zero = gradients(x, step, None, -8, 7), gradients(x, step, torch.tensor(0.0), -8, 7)
    assert torch.equal(without[0], with_zero[0])
    assert torch.equal(without[1], with_zero[1])
    torch.testing.assert_close(without[2], with_zero[2])


finite = st.floats(-50, 50, allow_nan=False)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(finite, min_size=1, max_size=12),
    st.floats(0.05, 3),
    st.floats(-5, 5),
    st.integers(2, 8),
    st.booleans(),
)
def test_forward_and_backward_are_the_formulas(values, s, beta, bits, signed):
    qmin, qmax = integer_range(bits, signed)
    x = torch.tensor(values, dtype=torch.float64)
    step, offset = torch.tensor(s, dtype=torch.float64), torch.tensor(beta, dtype=torch.float64)
    upstream = torch.arange(1, len(values) + 1, dtype=torch.float64)
    v = (x - offset) / step
    if bool((((v - qmin).abs() < 1e-9) | ((v - qmax).abs() < 1e-9)).any()):
        return  # on a bound, rounding in the last place decides; the table above covers exact bounds
    out, dx, ds, dbeta = gradients(x, step, offset, qmin, qmax, 0.25, upstream)
    rows = [naive(e, s, beta, qmin, qmax) for e in values]
    assert out.tolist() == pytest.approx([r[0] for r in rows], abs=1e-9)
    assert dx.tolist() == [u * r[1] for u, r in zip(upstream.tolist(), rows, strict=True)]
    expected_ds = 0.25 * sum(u * r[2] for u, r in zip(upstream.tolist(), rows, strict=True))
    assert ds.item() == pytest.approx(expected_ds, abs=1e-6)
    expected_db = 0.25 * sum(u * r[3] for u, r in zip(upstream.tolist(), rows, strict=True))
    assert dbeta.item() == pytest.approx(expected_db, abs=1e-9)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(-20, 20, width=32), min_size=1, max_size=20), st.integers(2, 8))
def test_quantizing_twice_changes_nothing_and_values_are_few(values, bits):
    qmin, qmax = integer_range(bits, signed=True)
    step = torch.tensor(0.375)  # dyadic, so that code · step is exact
    once = lsq_plus(torch.tensor(values), step, None, qmin, qmax, 1.0)
    assert torch.equal(lsq_plus(once, step, None, qmin, qmax, 1.0), once)
    assert len(once.unique()) <= 2**bits


def test_shifting_input_and_offset_shifts_the_output():
    x = torch.arange(-32, 32) / 8  # dyadic numbers: the identity holds bit for bit
    step, offset, c = torch.tensor(0.5), torch.tensor(-1.0), 3.25
    moved = lsq_plus(x + c, step, offset + c, 0, 7, 1.0)
    assert torch.equal(moved, lsq_plus(x, step, offset, 0, 7, 1.0) + c)


def test_offset_gradient_counts_the_clipped_elements():
    x = torch.tensor([-1.0, 0.0, 0.2, 2.9, 3.0, 3.1, 9.0])
    dbeta = gradients(x, torch.tensor(1.0), torch.tensor(0.0), 0, 3)[3]
    assert dbeta.item() == 3


def test_a_bound_counts_as_inside_with_an_offset_too():
    x = torch.tensor([-1.0, 3.0])  # v = 0 and v = qmax
    _, dx, ds, dbeta = gradients(x, torch.tensor(0.5), torch.tensor(-1.0), 0, 8)
    assert dx.tolist() == [1, 1]
    assert (ds.item(), dbeta.item()) == (0, 0)


def test_per_channel_gradients_sum_over_their_own_channel():
    x = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(1)) * 3
    step = torch.tensor([0.3, 0.5, 0.9]).view(1, 3, 1, 1)
    offset = torch.tensor([0.1, -0.2, 0.0]).view(1, 3, 1, 1)
    out, dx, ds, dbeta = gradients(x, step, offset, -2, 1)
    for c in range(3):
        one = gradients(x[:, c], step[0, c, 0, 0], offset[0, c, 0, 0], -2, 1)
        torch.testing.assert_close(out[:, c], one[0])
        assert torch.equal(dx[:, c], one[1])
        torch.testing.assert_close(ds[0, c, 0, 0], one[2], rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(dbeta[0, c, 0, 0], one[3])


def test_channels_last_gives_the_same_gradients():
    x = torch.randn(2, 3, 5, 5, generator=torch.Generator().manual_seed(2))
    step, offset = torch.tensor(0.21), torch.tensor(-0.3)
    upstream = torch.randn(x.shape, generator=torch.Generator().manual_seed(3))
    plain = gradients(x, step, offset, 0, 7, upstream=upstream)
    last = gradients(x.to(memory_format=torch.channels_last), step, offset, 0, 7, upstream=upstream)
    assert torch.equal(plain[0], last[0])
    assert torch.equal(plain[1], last[1])
    torch.testing.assert_close(plain[2], last[2], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(plain[3], last[3], rtol=1e-4, atol=1e-5)


def test_bfloat16_input_keeps_its_dtype_and_a_float32_step_gradient():
    x = (torch.randn(256, generator=torch.Generator().manual_seed(4)) * 2).bfloat16()
    step = torch.tensor(0.013)
    out, dx, ds, _ = gradients(x, step, None, -128, 127)
    wide = gradients(x.float(), step, None, -128, 127)
    assert (out.dtype, dx.dtype, ds.dtype) == (torch.bfloat16, torch.bfloat16, torch.float32)
    torch.testing.assert_close(ds, wide[2], rtol=1e-4, atol=1e-4)


def test_backward_is_linear_and_differentiable_in_the_upstream_gradient():
    x = torch.tensor([-3.0, 0.3, 0.8, 5.0], requires_grad=True)
    step, offset = torch.tensor(1.0, requires_grad=True), torch.tensor(0.1, requires_grad=True)
    u = torch.tensor([0.5, -1.0, 2.0, 3.0], requires_grad=True)
    out = lsq_plus(x, step, offset, -2, 1, 1.0)
    grads = torch.autograd.grad(out, (x, step, offset), u, create_graph=True)
    by_step = torch.autograd.grad(grads[1], u, retain_graph=True)[0]
    by_offset = torch.autograd.grad(grads[2], u, retain_graph=True)[0]
    by_x = torch.autograd.grad(grads[0].sum(), u)[0]
    rows = [naive(e, 1.0, 0.1, -2, 1) for e in x.tolist()]
    assert by_x.tolist() == [r[1] for r in rows]
    assert by_step.tolist() == pytest.approx([r[2] for r in rows], abs=1e-6)
    assert by_offset.tolist() == [r[3] for r in rows]


@pytest.mark.parametrize("bits", range(2, 9))
def test_weight_start_is_three_sigma_over_half_the_levels(bits):
    w = torch.randn(4000, generator=torch.Generator().manual_seed(5)) * 0.3 - 0.1
    quantizer = LSQPlusWeight(bits)
    quantizer.initialise_(w)
    mean, sigma = w.double().mean(), w.double().std(correction=0)
    widest = max(abs(mean - 3 * sigma), abs(mean + 3 * sigma))
    assert quantizer.step.item() == pytest.approx(float(widest) / 2 ** (bits - 1), rel=1e-5)


def test_weight_start_of_all_zero_weights_is_still_positive():
    quantizer = LSQPlusWeight(4)
    quantizer.initialise_(torch.zeros(10))
    assert quantizer.step.item() == pytest.approx(SMALLEST_STEP)
    assert quantizer(torch.zeros(10)).tolist() == [0.0] * 10


def test_activation_start_maps_both_ends_exactly():
    quantizer = LSQPlusActivation(2)
    quantizer.initialise_(torch.tensor([-1.0, 3.0]))
    assert quantizer.step.item() == pytest.approx(4 / 3)
    assert quantizer.offset.item() == pytest.approx(-1)
    assert quantizer(torch.tensor([-1.0, 3.0])).tolist() == pytest.approx([-1, 3])


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("kind", ["normal", "relu", "shifted"])
def test_activation_start_is_never_worse_than_min_max(bits, kind):
    x = torch.randn(5000, generator=torch.Generator().manual_seed(6))
    x = {"normal": x, "relu": x.relu(), "shifted": x * 0.1 + 7}[kind]
    step, offset = least_squares_start(x, 0, 2**bits - 1)
    widest = (x.max() - x.min()) / (2**bits - 1)
    chosen, min_max = (lsq_plus(x, s, o, 0, 2**bits - 1, 1.0) for s, o in ((step, offset), (widest, x.min())))
    assert (chosen - x).square().mean() <= (min_max - x).square().mean() * (1 + 1e-6)


def test_activation_start_keeps_an_exact_zero_after_relu():
    x = torch.randn(1000, generator=torch.Generator().manual_seed(7)).relu()
    _, offset = least_squares_start(x, 0, 15)
    assert offset.item() == 0


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_weight_gradient_scale_is_one_over_root_of_numel_times_qmax(bits):
    w = torch.randn(6, 5, 3, 3, generator=torch.Generator().manual_seed(8))
    quantizer = LSQPlusWeight(bits)
    quantizer.initialise_(w)
    quantizer(w).sum().backward()
    unscaled = gradients(w, quantizer.step.detach(), None, quantizer.qmin, quantizer.qmax)[2]
    g = 1 / math.sqrt(w.numel() * (2 ** (bits - 1) - 1))
    torch.testing.assert_close(quantizer.step.grad, unscaled * g)


def test_activation_gradient_scale_counts_the_features_of_one_sample():
    x = torch.rand(3, 4, 5, 5, generator=torch.Generator().manual_seed(9)) * 2
    quantizer = LSQPlusActivation(4)
    quantizer.initialise_(x * 0.5)
    quantizer(x).sum().backward()
    g = 1 / math.sqrt(4 * 5 * 5 * 15)
    unscaled = gradients(x, quantizer.step.detach(), quantizer.offset.detach(), 0, 15)
    torch.testing.assert_close(quantizer.step.grad, unscaled[2] * g, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(quantizer.offset.grad, unscaled[3] * g)


def test_codes_times_step_is_the_fake_quantized_value():
    w = torch.randn(400, generator=torch.Generator().manual_seed(10))
    weight, activation = LSQPlusWeight(4), LSQPlusActivation(4)
    weight.initialise_(w)
    activation.initialise_(w)
    w = w * 3  # well beyond both ranges
    codes_w, codes_a = weight.codes(w), activation.codes(w)
    torch.testing.assert_close(weight(w), codes_w * weight.step, atol=1e-5, rtol=0)
    torch.testing.assert_close(
        activation(w), codes_a * activation.step + activation.offset, atol=1e-5, rtol=0
    )
    assert (int(codes_w.min()), int(codes_w.max())) == (-8, 7)
    assert (int(codes_a.min()), int(codes_a.max())) == (0, 15)
