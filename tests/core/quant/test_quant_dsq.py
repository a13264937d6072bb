"""DSQ against the formulas of its paper (ALGORITHMS 6.4): hard forward, soft backward, learned range."""

import math

import pytest
import torch
from hypothesis import given, settings, strategies as st

from core.errors import BadInput
from core.quant.base import keep_valid_
from core.quant.dsq import SOFTNESS, DSQActivation, DSQWeight, dsq, slope
from core.quant.lsq_plus import lsq_plus
from tests.core.toy_problem import seeded


def normal(*shape, seed=0):
    return torch.randn(shape, generator=seeded(seed))


def phi(frac, alpha=SOFTNESS):
    """The paper's φ within an interval of width 1, from -1 to 1 over frac 0 to 1."""
    return math.tanh(math.log(2 / alpha - 1) * (frac - 0.5)) / (1 - alpha)


def naive(x, low, high, bits, alpha=SOFTNESS):
    """One element, from the formulas: value, and its derivatives by x, l and u."""
    top = 2**bits - 1
    delta = (high - low) / top
    if x < low:
        return low, 0.0, 1.0, 0.0
    if x > high:
        return high, 0.0, 0.0, 1.0
    v = (x - low) / delta
    frac, h = v - math.floor(v), 1e-6
    soft = (phi(frac + h, alpha) - phi(frac - h, alpha)) / (2 * h) / 2
    hard = round(v)  # half to even, as torch
    by_step = hard - v * soft
    return low + delta * hard, soft, 1 - soft - by_step / top, by_step / top


def gradients(x, low, high, bits, alpha=SOFTNESS, upstream=None):
    """(xq, d/dx, d/dl, d/du)."""
    inputs = [t.clone().requires_grad_() for t in (x, low, high)]
    out = dsq(*inputs, bits, alpha)
    out.backward(torch.ones_like(out) if upstream is None else upstream)
    return out.detach(), *(t.grad for t in inputs)


def scalars(*values, dtype=torch.float32):
    return [torch.tensor(v, dtype=dtype) for v in values]


@pytest.mark.parametrize(("frac", "expected"), [(0.5, 1.1552), (0.0, 0.7394), (1.0 - 1e-6, 0.7394)])
def test_the_slopes_of_section_6_4(frac, expected):
    found = slope(torch.tensor([5 + frac]), *scalars(0.0, 1.0), 0.4)
    assert found.item() == pytest.approx(expected, abs=1e-4)


def test_the_soft_value_of_section_6_4_and_continuity_between_intervals():
    assert (phi(0.25) + 1) / 2 == pytest.approx(0.2222, abs=1e-4)
    assert (phi(0.0), phi(1.0)) == pytest.approx((-1, 1))


def test_the_slope_integrates_to_the_soft_staircase():
    """Over any interval ψ rises by 1, and by .2222 over its first quarter."""
    x = torch.linspace(2, 3, 4001, dtype=torch.float64)
    found = slope(x, *scalars(0.0, 1.0, dtype=torch.float64), 0.4)
    assert torch.trapezoid(found, x).item() == pytest.approx(1, abs=1e-6)
    assert torch.trapezoid(found[:1001], x[:1001]).item() == pytest.approx(0.2222, abs=1e-4)


def test_the_slope_is_symmetric_about_every_centre():
    distance = torch.linspace(0, 0.49, 20)
    left, right = (slope(2.5 + sign * distance, *scalars(-1.0, 1.0), 0.4) for sign in (-1, 1))
    torch.testing.assert_close(left, right)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])  # the fused and the general mask
def test_nothing_passes_outside_the_range_and_the_ends_are_inside(dtype):
    x = torch.tensor([-1e30, -1.01, -1.0, 2.0, 2.01, 1e30], dtype=dtype)
    _, dx, dlow, dhigh = gradients(x, *scalars(-1.0, 2.0, dtype=dtype), 2)
    assert dx.tolist() == pytest.approx([0, 0, 0.7394, 0.7394, 0, 0], abs=1e-4)
    # 2 below and 2 above move with their end alone, and the two on the ends with what does not pass
    assert dlow.item() == pytest.approx(2 + (1 - 0.7394), abs=1e-3)
    assert dhigh.item() == pytest.approx(2 + (1 - 0.7394), abs=1e-3)


@pytest.mark.parametrize("bits", range(2, 9))
def test_forward_is_the_uniform_quantizer(bits):
    x, low, high = normal(500), *scalars(-1.25, 1.5)
    step = (high - low) / (2**bits - 1)
    assert torch.equal(dsq(x, low, high, bits), lsq_plus(x, step, low, 0, 2**bits - 1, 1.0))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(-6, 6), min_size=1, max_size=10),
    st.floats(-3, 2),
    st.floats(0.1, 4),
    st.integers(2, 8),
    st.sampled_from([0.1, 0.4, 0.8]),
)
def test_forward_and_backward_are_the_formulas(values, low, width, bits, alpha):
    v = [(x - low) / width * (2**bits - 1) for x in values]
    if any(abs(2 * e - round(2 * e)) < 1e-4 for e in v):
        return  # at ties, and at ends of intervals, rounding in the last place decides
    x = torch.tensor(values, dtype=torch.float64)
    upstream = torch.arange(1, len(values) + 1, dtype=torch.float64)
    ends = scalars(low, low + width, dtype=torch.float64)
    out, dx, dlow, dhigh = gradients(x, *ends, bits, alpha, upstream)
    rows = [naive(e, low, low + width, bits, alpha) for e in values]
    sums = [sum(u * row[i] for u, row in zip(upstream.tolist(), rows, strict=True)) for i in (2, 3)]
    assert out.tolist() == pytest.approx([r[0] for r in rows], abs=1e-9)
    assert dx.tolist() == pytest.approx(
        [u * r[1] for u, r in zip(upstream.tolist(), rows, strict=True)], abs=1e-4
    )
    assert dlow.item() == pytest.approx(sums[0], abs=1e-3)
    assert dhigh.item() == pytest.approx(sums[1], abs=1e-3)


def test_moving_or_stretching_everything_together_does_the_same_to_the_output():
    """∂x + ∂l + ∂u = 1 and, by Euler's theorem, x·∂x + l·∂l + u·∂u = xq, for every element."""
    low, high = scalars(-0.7, 1.9, dtype=torch.float64)
    for x in (normal(40) * 2).double():
        out, dx, dlow, dhigh = gradients(x.reshape(1), low, high, 3)
        assert (dx + dlow + dhigh).item() == pytest.approx(1)
        assert (x * dx + low * dlow + high * dhigh).item() == pytest.approx(out.item())


def test_per_channel_gradients_sum_over_their_own_channel():
    x = normal(4, 3, 5, 5)
    low = torch.tensor([-1.0, -0.5, -2.0, 0.1]).view(4, 1, 1, 1)
    high = low + torch.tensor([2.0, 0.7, 3.0, 1.0]).view(4, 1, 1, 1)
    together = gradients(x, low, high, 3)
    for c in range(4):
        alone = gradients(x[c], low[c, 0, 0, 0], high[c, 0, 0, 0], 3)
        for whole, part in zip(together, alone, strict=True):
            torch.testing.assert_close(whole[c].reshape(part.shape), part, rtol=1e-4, atol=1e-4)


def test_bfloat16_keeps_its_dtype_and_a_float32_gradient_of_the_range():
    x, ends = (normal(256) * 2).bfloat16(), scalars(-1.0, 1.3)
    narrow, exact = gradients(x, *ends, 8), gradients(x.float(), *ends, 8)
    assert (narrow[0].dtype, narrow[1].dtype, narrow[2].dtype) == (
        torch.bfloat16,
        torch.bfloat16,
        torch.float32,
    )
    torch.testing.assert_close(narrow[2:], exact[2:], rtol=1e-4, atol=1e-4)


def test_backward_is_linear_and_differentiable_in_the_upstream_gradient():
    x, low, high = (t.requires_grad_() for t in (torch.tensor([-3.0, 0.3, 0.8, 5.0]), *scalars(-1.0, 2.0)))
    u = torch.tensor([0.5, -1.0, 2.0, 3.0], requires_grad=True)
    grads = torch.autograd.grad(dsq(x, low, high, 2), (x, low, high), u, create_graph=True)
    rows = [naive(e, -1.0, 2.0, 2) for e in x.tolist()]
    for i, grad in enumerate(grads):
        by_u = torch.autograd.grad(grad.sum(), u, retain_graph=True)[0]
        assert by_u.tolist() == pytest.approx([r[i + 1] for r in rows], abs=1e-4)


def test_a_missing_range_is_bad_input_that_names_both_ends():
    x, one = normal(3), torch.tensor(1.0)
    for low, high, what in (
        (None, one, "lower is"),
        (one, None, "upper is"),
        (None, None, "lower and upper are"),
    ):
        with pytest.raises(BadInput, match=f"{what} missing.* both lower and upper"):
            dsq(x, low, high, 4)


@pytest.mark.parametrize("high", [1.0, 0.5, math.nan])
def test_an_inverted_range_is_bad_input_that_names_both_ends(high):
    with pytest.raises(BadInput, match=f"lower 1 is not below upper {high:g}"):
        dsq(normal(3), *scalars(1.0, high), 4)


def test_activations_without_a_range_are_bad_input():
    with pytest.raises(BadInput, match=r"lower and upper are not set; call .*calibrate_"):
        DSQActivation(4)(normal(3))


def test_weights_start_at_three_sigma_about_their_mean_per_tensor_and_per_channel():
    w = normal(8, 500) * 0.2 + 0.1
    one, many = DSQWeight(4), DSQWeight(4, (8, 1))
    one.initialise_(w)
    many.initialise_(w)
    assert one.lower.item() == pytest.approx(float(w.mean() - 3 * w.std(correction=0)))
    assert one.upper.item() == pytest.approx(float(w.mean() + 3 * w.std(correction=0)))
    torch.testing.assert_close(many.upper[3, 0], w[3].mean() + 3 * w[3].std(correction=0))


def test_activations_start_with_an_exact_zero_after_relu():
    quantizer = DSQActivation(2)
    x = normal(2000).relu()
    quantizer.initialise_(x)
    assert quantizer.lower.item() == 0
    assert 1 < quantizer.upper.item() < float(x.max())


@pytest.mark.parametrize("at", [0.0, -3.0, 1e4])
@pytest.mark.parametrize("shape", [(), (3, 1)])
def test_keep_valid_lifts_the_upper_end_above_the_lower(at, shape):
    quantizer = DSQWeight(4, shape)
    quantizer.initialise_(normal(3, 5))
    with torch.no_grad():
        quantizer.lower.fill_(at)
        quantizer.upper.fill_(at - 1)
    assert quantizer.fault() == "upper is not above lower"
    keep_valid_(quantizer)
    assert quantizer.fault() is None
    assert bool((quantizer.grid()[0] > 0).all())
    assert quantizer(normal(3, 5)).isfinite().all()


def test_constant_data_still_get_a_range():
    weight, activation = DSQWeight(4), DSQActivation(4)
    for quantizer in (weight, activation):
        quantizer.initialise_(torch.full((3, 3), 2.5))
        assert quantizer.fault() is None
        assert quantizer(torch.full((3, 3), 2.5)).mean().item() == pytest.approx(2.5, abs=1e-3)
