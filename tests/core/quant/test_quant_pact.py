"""PACT activations and DoReFa weights against their formulas (ALGORITHMS 6.3)."""

import pytest
import torch

from core.quant.base import SMALLEST_STEP
from core.quant.pact import DoReFaWeight, PACTActivation, dorefa_weight, pact
from tests.core.toy_problem import seeded


def normal(*shape, seed=0):
    return torch.randn(shape, generator=seeded(seed))


def gradients(x, alpha, bits):
    """(xq, d/dx, d/dα of each element alone) under ones."""
    x, alpha = x.clone().requires_grad_(), torch.tensor(alpha, dtype=x.dtype, requires_grad=True)
    out = pact(x, alpha, bits)
    by_alpha = [torch.autograd.grad(e, alpha, retain_graph=True)[0].item() for e in out]
    out.sum().backward()
    torch.testing.assert_close(alpha.grad.item(), sum(by_alpha), rtol=1e-5, atol=1e-5)
    return out.detach(), x.grad, by_alpha


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])  # the fused and the general path
def test_the_table_of_section_6_3(dtype):
    out, dx, dalpha = gradients(torch.tensor([-1.0, 0.4, 1.6, 5.0], dtype=dtype), 3.0, 2)
    assert out.tolist() == [0, 0, 2, 3]
    assert dx.tolist() == [0, 1, 1, 0]
    assert dalpha == [0, 0, 0, 1]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_both_ends_count_as_inside_and_the_clip_as_clipped(dtype):
    _, dx, dalpha = gradients(torch.tensor([0.0, 3.0], dtype=dtype), 3.0, 4)
    assert dx.tolist() == [1, 1]
    assert dalpha == [0, 1]


@pytest.mark.parametrize("bits", range(2, 9))
def test_the_gradient_by_x_is_that_of_the_clip(bits):
    x = (normal(500) * 3).requires_grad_()
    by_pact = torch.autograd.grad(pact(x, torch.tensor(2.0), bits).sum(), x)[0]
    assert torch.equal(by_pact, torch.autograd.grad(x.clamp(0, 2.0).sum(), x)[0])


def test_the_gradient_by_alpha_is_the_upstream_gradient_of_what_is_clipped():
    x, upstream = normal(3, 4, 5, 5) * 3, normal(3, 4, 5, 5, seed=1)
    for layout in (torch.contiguous_format, torch.channels_last):
        alpha = torch.tensor(1.5, requires_grad=True)
        pact(x.to(memory_format=layout), alpha, 4).backward(upstream)
        torch.testing.assert_close(alpha.grad, upstream[x >= 1.5].sum(), rtol=1e-4, atol=1e-5)


def test_bfloat16_keeps_its_dtype_and_computes_in_float32():
    x, alpha = (normal(256) * 2).bfloat16().requires_grad_(), torch.tensor(1.7, requires_grad=True)
    out = pact(x, alpha, 8)
    out.sum().backward()
    assert (out.dtype, x.grad.dtype, alpha.grad.dtype) == (torch.bfloat16, torch.bfloat16, torch.float32)
    assert torch.equal(out, pact(x.float(), alpha, 8).bfloat16())
    assert alpha.grad.item() == int((x >= 1.7).sum())


def test_backward_is_linear_and_differentiable_in_the_upstream_gradient():
    x, alpha = torch.tensor([-1.0, 0.4, 1.6, 5.0], requires_grad=True), torch.tensor(3.0, requires_grad=True)
    u = torch.tensor([0.5, -1.0, 2.0, 3.0], requires_grad=True)
    dx, dalpha = torch.autograd.grad(pact(x, alpha, 2), (x, alpha), u, create_graph=True)
    assert torch.autograd.grad(dalpha, u, retain_graph=True)[0].tolist() == [0, 0, 0, 1]
    assert torch.autograd.grad(dx.sum(), u)[0].tolist() == [0, 1, 1, 0]


def test_alpha_starts_within_the_data_at_the_least_squared_error():
    x = normal(4000).relu()
    quantizer = PACTActivation(2)
    quantizer.initialise_(x)
    chosen = quantizer.alpha.item()
    assert 1 < chosen < float(x.max())
    errors = [
        float((pact(x, torch.tensor(a), 2) - x).square().mean()) for a in (chosen, 10.0, float(x.max()))
    ]
    assert errors[0] < errors[2] < errors[1]


@pytest.mark.parametrize("x", [torch.zeros(8), -torch.ones(8)])
def test_alpha_is_positive_for_data_that_never_are(x):
    quantizer = PACTActivation(4)
    quantizer.initialise_(x)
    assert quantizer.fault() is None
    assert quantizer.alpha.item() >= SMALLEST_STEP
    assert quantizer(x).tolist() == [0.0] * 8


@pytest.mark.parametrize("bits", range(2, 9))
def test_dorefa_levels_are_even_symmetric_and_reach_one(bits):
    w = normal(40, 50) * 0.05
    out = dorefa_weight(w, bits)
    assert out.abs().max().item() == 1
    levels = torch.linspace(-1, 1, 2**bits)
    assert float((out.flatten()[:, None] - levels).abs().amin(1).max()) < 1e-6
    torch.testing.assert_close(dorefa_weight(-w, bits), -out, atol=1e-6, rtol=0)


def test_two_bit_dorefa_has_the_four_values_of_section_6_3():
    found = dorefa_weight(normal(4000), 2).unique()
    torch.testing.assert_close(found, torch.tensor([-1.0, -1 / 3, 1 / 3, 1.0]))


def test_dorefa_forgets_the_scale_of_small_weights():
    w = normal(300) * 1e-3
    assert torch.equal(dorefa_weight(w, 4), dorefa_weight(w / 2, 4))


def test_dorefa_per_channel_is_every_channel_alone():
    w = normal(5, 3, 2, 2) * torch.arange(1, 6).view(-1, 1, 1, 1)
    out = dorefa_weight(w, 3, (5, 1, 1, 1))
    for channel, expected in zip(out, w, strict=True):
        assert torch.equal(channel, dorefa_weight(expected, 3))


@pytest.mark.parametrize("shape", [(), (4, 1)])
def test_dorefas_gradient_is_that_of_the_weights_before_rounding(shape):
    """The derivative of tanh(w)/max|tanh w|, by central differences, through the maximum too."""
    w, upstream = normal(4, 6).double(), normal(4, 6, seed=1).double()

    def smooth(w):
        squashed = torch.tanh(w)
        return squashed / (squashed.abs().amax(1, keepdim=True) if shape else squashed.abs().max())

    analytic = w.clone().requires_grad_()
    dorefa_weight(analytic, 2, shape).backward(upstream)
    h, numeric = 1e-6, torch.zeros_like(w)
    for i in range(w.numel()):
        step = torch.zeros(w.numel(), dtype=w.dtype)
        step[i] = h
        moved = [smooth(w + sign * step.view_as(w)) for sign in (1, -1)]
        numeric.view(-1)[i] = ((moved[0] - moved[1]) * upstream).sum() / (2 * h)
    torch.testing.assert_close(analytic.grad, numeric, rtol=1e-5, atol=1e-6)


def test_dorefa_of_zeros_is_finite_with_finite_gradients():
    w = torch.zeros(3, 3, requires_grad=True)
    out = dorefa_weight(w, 4)
    out.sum().backward()
    assert out.isfinite().all()
    assert w.grad.isfinite().all()


def test_dorefa_learns_nothing():
    quantizer = DoReFaWeight(4)
    assert list(quantizer.parameters()) == []
    assert quantizer.learned_step() is None
    assert quantizer.fault() == "not initialised"
