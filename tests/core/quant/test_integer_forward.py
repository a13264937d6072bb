"""A layer on codes gives what the fake-quantized one gives: the same codes, sums and gradients."""

import itertools

import pytest
import torch
from torch.nn import functional as F

from core import cpu
from core.quant import QUANTIZERS, QuantSpec, agreement, integer_forward, integer_share
from core.quant.codes import decode
from core.quant.layers import QuantConv2d, QuantLinear
from core.quant.onednn import Window, convolve, multiply
from tests.core.toy_problem import CLASSES, PLAIN, fresh_problem, seeded, toy_images, toy_model

on_codes_only = pytest.mark.skipif(
    not cpu.multiplies_bytes(), reason="this processor has no integer operators (VNNI, AMX)"
)
NETWORKS = (
    "resnet18",
    "mobilenetv2",
    "alexnet",
    "mlp",
)  # blocks, groups and linear bottlenecks, large kernels, products
BITS = {"resnet18": "4w4a", "mobilenetv2": "3w4a", "alexnet": "8w8a", "mlp": "2w2a"}


@pytest.fixture(autouse=True)
def any_size(monkeypatch):
    """Layers compute on codes however small they are."""
    monkeypatch.setattr("core.quant.on_codes.FEWEST", 0)


def images(count=4):
    return PLAIN.normalise(toy_images(count).pixels)


def inputs_of(model):
    """What every quantized layer reads while the model looks at images."""
    found, layers = {}, [m for m in model.modules() if isinstance(m, QuantConv2d | QuantLinear)]
    for layer in layers:
        layer.register_forward_pre_hook(lambda layer, given: found.setdefault(layer, given[0].detach()))
    model(images())
    for layer in layers:
        layer._forward_pre_hooks.clear()
    return found


def run(layer, x, on):
    """Output, gradients of input and parameters, and whether the layer computed on codes."""
    x = x.clone().requires_grad_()
    layer.zero_grad()
    with integer_forward(on) as used:
        out = layer(x)
    out.backward(torch.randn(out.shape, generator=seeded(3)).to(memory_format=_format(out)))
    grads = {name: p.grad.clone() for name, p in layer.named_parameters() if p.grad is not None}
    return out.detach(), {"input": x.grad, **grads}, used.used


def _format(x):
    return torch.channels_last if x.dim() == 4 else torch.contiguous_format


def sizes(layer, x, out):
    """The sum of all absolute products and the bias: what rounding is relative to."""
    with torch.no_grad():
        xq, wq = layer.input_quantizer(x).abs().double(), layer.weight_quantizer(layer.weight).abs().double()
        bias = None if layer.bias is None else layer.bias.abs().double()
        return layer._conv_forward(xq, wq, bias) if out.dim() == 4 else F.linear(xq, wq, bias)


def check_layer(layer, x):
    """Codes, sums and gradients; returns whether the layer computed on codes."""
    plain, expected, _ = run(layer, x, False)
    out, found, used = run(layer, x, True)
    assert float((out - plain).abs().max()) <= 1e-6 * float(sizes(layer, x, out).max())
    assert found.keys() == expected.keys()
    for name in expected:
        scale = float(expected[name].abs().max())
        rtol = 1e-2 if expected[name].dim() == 0 else 1e-4  # sums that are small beside their terms
        torch.testing.assert_close(found[name], expected[name], rtol=rtol, atol=1e-5 * scale)
    if used:
        for quantizer, values in ((layer.input_quantizer, x), (layer.weight_quantizer, layer.weight)):
            in_bytes = quantizer.in_bytes(values)
            torch.testing.assert_close(
                decode(in_bytes, torch.float32), quantizer(values), rtol=1e-6, atol=1e-6
            )
            numbers = quantizer.codes(values)
            if int(in_bytes.codes.max()) - int(in_bytes.codes.min()) <= quantizer.qmax - quantizer.qmin:
                assert torch.equal(in_bytes.codes.int() + in_bytes.shift, numbers)
            else:  # DoReFa's, as odd numbers
                assert torch.equal(in_bytes.codes.int(), 2 * numbers - quantizer.qmax)
    return used


@on_codes_only
@pytest.mark.parametrize("arch", NETWORKS)
@pytest.mark.parametrize(("quantizer", "granularity"), [*itertools.product(QUANTIZERS, ("", "-perchannel"))])
def test_every_layer_has_the_sums_and_gradients_of_the_fake_quantized_one(arch, quantizer, granularity):
    model = toy_model(arch, QuantSpec.parse(f"{BITS[arch]}-{quantizer}{granularity}")).train()
    used = [check_layer(layer, x) for layer, x in inputs_of(model).items()]
    assert sum(used) >= 2


@on_codes_only
@pytest.mark.parametrize(
    ("stride", "padding", "kernel", "dilation", "size"),
    [
        (1, 1, 3, 1, 9),
        (2, 1, 3, 1, 8),
        (2, 0, 1, 1, 7),
        (1, 2, 5, 1, 3),
        (1, 2, 3, 2, 6),
        (3, 4, 3, 1, 5),
        (1, 0, 3, 1, 6),
    ],
)
def test_an_offset_is_exact_wherever_the_kernel_meets_the_padding(stride, padding, kernel, dilation, size):
    draw = seeded(1)
    u = torch.randint(0, 256, (2, 5, size, size + 2), generator=draw).to(torch.uint8)
    q = torch.randint(-128, 128, (7, 5, kernel, kernel), generator=draw).to(torch.int8)
    x = agreement.Codes(u, u, 0, torch.tensor(0.3), torch.tensor(-1.7))
    w = agreement.Codes(
        q, q, 3, torch.rand((7, 1, 1, 1), generator=draw), torch.rand((7, 1, 1, 1), generator=draw)
    )
    window = Window((stride, stride), (padding, padding), (dilation, dilation))
    expected = F.conv2d(decode(x, torch.float64), decode(w, torch.float64), None, *window)
    found = convolve(x, w, None, window, torch.float32)
    assert float((found - expected).abs().max() / expected.abs().max()) < 1e-6


@on_codes_only
def test_a_trained_network_says_the_same_of_999_images_in_1000_and_keeps_less():
    problem = fresh_problem()
    model = toy_model("resnet18", QuantSpec.parse("4w4a"))
    state = {name: t for name, t in problem.model.state_dict().items() if name in model.state_dict()}
    model.load_state_dict({**model.state_dict(), **state})
    kept, said = {}, {}
    for on in (False, True):
        with integer_forward(on), torch.no_grad():
            said[on] = model(images(2000)).argmax(1)
        sizes = {}
        with (
            integer_forward(on),
            torch.autograd.graph.saved_tensors_hooks(
                lambda t, sizes=sizes: sizes.setdefault(t.untyped_storage().data_ptr(), t), lambda t: t
            ),
        ):
            model(images(32))
        kept[on] = sum(t.untyped_storage().nbytes() for t in sizes.values())
    assert float((said[True] == said[False]).float().mean()) >= 0.999
    assert len(said[True].unique()) == CLASSES
    assert kept[True] < 0.85 * kept[False]


@on_codes_only
@pytest.mark.parametrize("quantizer", QUANTIZERS)
def test_products_of_every_samples_gradient_are_those_of_the_fake_quantized_layer(quantizer):
    layer, x = list(inputs_of(toy_model("resnet18", QuantSpec.parse(f"4w4a-{quantizer}"))).items())[2]
    parameters, products = list(layer.parameters()), []
    direction = [torch.randn(p.shape, generator=seeded(i)) for i, p in enumerate(parameters)]
    for on in (False, True):
        with integer_forward(on) as used:
            out_B = layer(x).square().flatten(1).sum(1)
        assert used.used == on
        u_B = torch.zeros_like(out_B, requires_grad=True)  # as `core.unlearn.influence` has it
        grads = torch.autograd.grad(out_B, parameters, u_B, create_graph=True)
        along = torch.stack([(g * d).sum() for g, d in zip(grads, direction, strict=True)]).sum()
        products.append(torch.autograd.grad(along, u_B)[0])
    torch.testing.assert_close(products[1], products[0], rtol=1e-4, atol=1e-4)


@on_codes_only
def test_what_integers_cannot_say_is_computed_as_before(monkeypatch):
    layer, x = next(iter(inputs_of(toy_model("resnet18", QuantSpec.parse("4w4a"))).items()))
    holed = x.clone()
    holed[0, 0, 0, 0] = float("nan")
    with integer_forward(True):
        assert layer(holed).isnan().any()
    heard = []
    handle = layer.input_quantizer.register_forward_hook(lambda *_: heard.append(1))
    assert not run(layer, x, True)[2]
    assert heard
    handle.remove()
    monkeypatch.setattr("core.quant.on_codes.FEWEST", 10**12)
    assert not run(layer, x, True)[2]
    assert not run(layer, x, False)[2]


def test_operators_that_give_other_sums_are_found_out_and_left_alone(monkeypatch):
    def wrong(x, w, bias, window, dtype):
        return convolve(x, w, None, window, dtype)

    def saturated(x, w, bias, dtype):
        return multiply(x, w, bias, dtype).clamp(max=1.0)

    layer, x = next(iter(inputs_of(toy_model("resnet18", QuantSpec.parse("4w4a"))).items()))
    monkeypatch.setattr(agreement, "multiplies_bytes", lambda: True)
    for name, operator, what in (
        ("convolve", wrong, "convolutions"),
        ("multiply", saturated, "products"),
        ("convolve", lambda *_: torch.ops.onednn.no_such_operator(), "no_such_operator"),
    ):
        agreement.integers_right.cache_clear()
        integer_share.cache_clear()
        monkeypatch.setattr(agreement, "convolve", convolve)
        monkeypatch.setattr(agreement, "multiply", multiply)
        monkeypatch.setattr(agreement, name, operator)
        with pytest.warns(UserWarning, match=f"in floating point .*{what}"):
            assert not agreement.integers_right()
        assert not run(layer, x, True)[2]
        assert integer_share() == 1
    agreement.integers_right.cache_clear()
    integer_share.cache_clear()


def test_a_processor_without_them_computes_as_before_and_says_nothing(monkeypatch, recwarn):
    monkeypatch.setattr(agreement, "multiplies_bytes", lambda: False)
    agreement.integers_right.cache_clear()
    layer, x = next(iter(inputs_of(toy_model("resnet18", QuantSpec.parse("4w4a"))).items()))
    assert not run(layer, x, True)[2]
    assert not recwarn.list
    agreement.integers_right.cache_clear()
