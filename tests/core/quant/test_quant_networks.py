"""Every quantizer in either network: half precision, checkpoints, huge gradients, per-sample products."""

import pytest
import torch

from core.checkpoint import load, save
from core.data.loader import batches, plain_batches
from core.models import MODELS
from core.quant import QUANTIZERS, QuantSpec, keep_valid_, quantizer_faults, quantizers
from core.train.loop import TrainParams, fit
from core.unlearn.influence import per_sample_products
from tests.core.toy_problem import PLAIN, differing, seeded, state_of, toy_images, toy_model

each_network = pytest.mark.parametrize("arch", MODELS)
each_quantizer = pytest.mark.parametrize("quantizer", QUANTIZERS)


def images(count=8, seed=0):
    return PLAIN.normalise(toy_images(count, seed).pixels)


def model_of(arch, label):
    return toy_model(arch, QuantSpec.parse(label))


@each_network
@each_quantizer
@pytest.mark.parametrize("flags", [(), ("perchannel",)])
def test_a_checkpoint_survives_and_evaluation_repeats_itself(arch, quantizer, flags, tmp_path):
    name = "-".join(["3w4a", quantizer, *flags])
    model = model_of(arch, name)
    with torch.no_grad():
        for _, q in quantizers(model):
            for parameter in q.parameters():
                parameter.mul_(1.25)  # nothing that a start would choose
    save(tmp_path, model, {})
    fresh = toy_model(arch, QuantSpec.parse(name), seed=5)
    fresh.load_state_dict(load(tmp_path)[0])
    before = state_of(fresh)
    assert quantizer_faults(fresh) == {}
    with torch.no_grad():
        first, second, original = fresh(images()), fresh(images()), model(images())
    assert torch.equal(first, second)
    assert torch.equal(first, original)
    assert differing(before, fresh) == []


@each_network
@each_quantizer
def test_bfloat16_autocast_trains_and_stays_near_float32(arch, quantizer):
    model = model_of(arch, f"8w8a-{quantizer}")
    with torch.no_grad():
        exact = model(images())
        with torch.autocast("cpu", torch.bfloat16):
            narrow = model(images())
    assert narrow.dtype == torch.bfloat16
    assert float((narrow.float() - exact).norm() / exact.norm()) < 0.2
    params = TrainParams(epochs=1, lr=0.05, batch_size=16, precision="bfloat16")
    data = toy_images(32)
    fit(model, lambda _: batches(data, 16, PLAIN, seeded()), params, seeded())
    assert quantizer_faults(model) == {}
    assert all(p.dtype == torch.float32 and p.isfinite().all() for p in model.parameters())


@each_quantizer
@pytest.mark.parametrize("trust", [0.0025, None])
def test_one_enormous_gradient_leaves_every_quantizer_valid(quantizer, trust):
    model = toy_model(quant=QuantSpec.parse(f"2w2a-{quantizer}-perchannel"))
    data = toy_images(16)

    def push_down(_epoch):
        for parameter in model.parameters():
            parameter.grad = torch.full_like(parameter, 1e30)

    params = TrainParams(epochs=1, lr=0.1, batch_size=16, step_trust=trust)
    learned = [q for _, q in quantizers(model) if list(q.parameters())]
    before = [q.learned_step() for q in learned]
    fit(model, lambda _: batches(data, 16, PLAIN, seeded()), params, seeded(), on_gradient=push_down)
    for quantizer_, old in zip(learned, before, strict=True):
        if trust is not None:
            assert quantizer_.fault() is None
            torch.testing.assert_close(quantizer_.learned_step(), old, rtol=0.003, atol=1e-12)
        else:
            assert bool((quantizer_.learned_step() > 0).all())


@each_network
@each_quantizer
def test_per_sample_products_are_those_of_per_sample_gradients(arch, quantizer):
    """The double backward pass of the influence method, against one backward pass for each image."""
    model, data, generator = model_of(arch, f"4w4a-{quantizer}"), toy_images(3), seeded(2)
    moved = list(model.parameters())
    direction = [torch.randn(p.shape, generator=generator) for p in moved]
    found = per_sample_products(model, moved, direction, plain_batches(data, 3, PLAIN))
    losses = torch.nn.functional.cross_entropy(
        model(PLAIN.normalise(data.pixels)), data.labels, reduction="none"
    )
    gradients = [torch.autograd.grad(loss, moved, retain_graph=True) for loss in losses]
    expected = [sum((g * d).sum() for g, d in zip(of_one, direction, strict=True)) for of_one in gradients]
    torch.testing.assert_close(found, torch.stack(expected), rtol=1e-3, atol=1e-3)


@each_quantizer
def test_keep_valid_leaves_a_valid_model_alone(quantizer):
    model = toy_model(quant=QuantSpec.parse(f"4w4a-{quantizer}"))
    before = state_of(model)
    keep_valid_(model)
    assert differing(before, model) == []
