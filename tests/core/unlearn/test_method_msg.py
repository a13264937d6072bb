"""MSG: which weights are drawn anew, from what, and how slowly the others move."""

import copy
import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from core.errors import BadInput
from core.quant import quantizer_faults
from core.quant.layers import QuantConv2d
from core.train.loop import TrainParams, epoch_lr
from core.unlearn import METHODS
from core.unlearn.msg import difference_gradients, redraw_, smallest
from tests.core.toy_problem import PLAIN, W4A4, linear_problem, seeded, toy_model


def test_the_smallest_gradients_are_chosen_layer_by_layer():
    gradient = torch.tensor([[3.0, -1.0], [0.5, -4.0], [2.0, 0.1]])
    assert smallest(gradient, 0.5).tolist() == [[False, True], [True, False], [False, True]]
    assert int(smallest(torch.randn(10, generator=seeded()), 0.3).sum()) == 3
    assert smallest(gradient, 1.0).all()


def test_the_gradient_is_that_of_the_difference_on_as_many_images(problem):
    found = difference_gradients(problem, 24, seed=3)
    kept = problem.retain.select(torch.randperm(72, generator=seeded(3))[:24])
    model = copy.deepcopy(problem.model)
    losses = [
        F.cross_entropy(model(PLAIN.normalise(part.pixels)), part.labels) for part in (kept, problem.forget)
    ]
    weights = [model.get_submodule(name).weight for name in found]
    grads = torch.autograd.grad(losses[0] - losses[1], weights)
    for name, grad in zip(found, grads, strict=True):
        assert torch.allclose(found[name], grad, atol=1e-5)


@pytest.mark.parametrize("draw", ["fan_out", "layer"])
def test_fresh_weights_have_the_deviation_asked_for_and_the_others_stay(draw):
    layer = nn.Conv2d(16, 64, 3)
    with torch.no_grad():
        layer.weight.mul_(0.1)
    before, own = layer.weight.detach().clone(), float(layer.weight.detach().std(correction=0))
    where = torch.rand(before.shape, generator=seeded()) < 0.5
    redraw_(layer, where, draw, seeded(1))
    expected = math.sqrt(2 / (64 * 9)) if draw == "fan_out" else own
    assert float(layer.weight.detach()[where].std()) == pytest.approx(expected, rel=0.05)
    assert torch.equal(layer.weight[~where], before[~where])


def test_steps_start_over_with_published_draws_alone():
    for draw, moves in (("fan_out", True), ("layer", False)):
        model = toy_model(quant=W4A4)
        layer = next(m for m in model.modules() if isinstance(m, QuantConv2d))
        before = layer.weight_quantizer.learned_step().clone()
        redraw_(layer, torch.ones_like(layer.weight, dtype=torch.bool), draw, seeded(9))
        assert (not torch.equal(layer.weight_quantizer.learned_step(), before)) is moves
        assert quantizer_faults(model) == {}


def test_with_a_factor_of_zero_the_other_weights_do_not_move(problem):
    method = METHODS["msg"]
    options = {
        "epochs": 1,
        "batch_size": 24,
        "others": 0.0,
        "weight_decay": 0.0,
        "share": 0.25,
        "draw": "layer",
    }
    found = method.run(problem, method.params(**options, lr=0.1), seeded(), None)
    for name, layer in problem.model.named_modules():
        if isinstance(layer, nn.Conv2d):
            moved = float((found.get_submodule(name).weight != layer.weight).float().mean())
            assert moved == pytest.approx(0.25, abs=0.01)


def test_the_rate_goes_up_and_down_as_published():
    """Five epochs: a warm-up over three, then down; never 0."""
    params = TrainParams(epochs=5, lr=3.0, schedule="triangle")
    assert [epoch_lr(params, epoch) for epoch in range(5)] == pytest.approx([1, 2, 3, 2, 1])
    four = params.model_copy(update={"epochs": 4})
    assert [epoch_lr(four, epoch) for epoch in range(4)] == pytest.approx([1.5, 3, 2, 1])


@pytest.mark.parametrize("name", ["msg", "ct"])
def test_a_network_without_convolutions_is_refused_in_one_line(name):
    with pytest.raises(BadInput, match="of convolutions, and this network has none") as caught:
        METHODS[name].run(linear_problem(4, 8), METHODS[name].params(), seeded(), None)
    assert "\n" not in str(caught.value)
