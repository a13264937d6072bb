"""SFRon: its weights, its mask, the order of its steps and how far an ascent goes."""

import math

import pytest
import torch

from core.data import Batch
from core.unlearn import METHODS
from core.unlearn.sfron import SFRonParams, Steps, balanced_loss, salient
from tests.core.toy_problem import linear_problem, seeded


def steps_of(problem, **options):
    salience = [torch.ones_like(p) for p in problem.model.parameters()]
    return Steps(problem, SFRonParams(**options), problem.model, salience)


def test_weights_are_powers_of_the_loss_that_sum_to_one():
    losses = torch.tensor([0.25, 4.0], requires_grad=True)
    found = balanced_loss(losses, 0.5)  # weights 2 : 0.5
    assert float(found.detach()) == pytest.approx(0.8 * 0.25 + 0.2 * 4.0)
    (grad,) = torch.autograd.grad(found, losses)
    assert grad.tolist() == pytest.approx([0.8, 0.2])  # no gradient goes through the weights
    assert float(balanced_loss(losses.detach(), 0.0)) == pytest.approx(float(losses.detach().mean()))
    assert torch.isfinite(balanced_loss(torch.tensor([0.0, 1.0]), 0.5))


def test_salient_is_what_matters_as_much_to_the_forget_set():
    forget, retain = [torch.tensor([1.0, 2.0, 0.0, 0.0])], [torch.tensor([2.0, 1.0, 0.0, 1.0])]
    assert salient(forget, retain, 1.0)[0].tolist() == [0, 1, 1, 0]
    assert salient(forget, retain, 0.5)[0].tolist() == [1, 1, 1, 0]


def test_an_ascent_goes_before_every_fifth_descent_and_fades():
    problem = linear_problem(6, 40)
    steps = steps_of(problem, epochs=2, batch_size=4, ascent=10.0, balance=0.0)
    kinds, factors = [], []
    for epoch in range(2):
        for batch in steps.epoch(epoch, seeded(epoch)):
            kinds.append(steps.climbs)
            assert bool(batch.weights.eq(float(steps.climbs)).all())
            if steps.climbs:
                logits = torch.zeros(len(batch.labels), 4)
                factors.append(float(steps.loss(logits, batch)) / -math.log(4))
    assert kinds == [True, *[False] * 5] * 4
    assert factors == pytest.approx([10 * (1 + math.cos(math.pi * t / 20)) / 2 for t in (0, 5, 10, 15)])


def test_an_ascents_gradient_is_masked_and_clipped_and_a_descents_is_not():
    problem = linear_problem(6, 40)
    steps = steps_of(problem, largest_norm=7.0)
    steps.salience[1].zero_()
    for climbs, expected in ((True, 7.0), (False, 100.0)):
        for p in problem.model.parameters():
            p.grad = torch.full_like(p, 100 / math.sqrt(p.numel()))
        steps.climbs = climbs
        steps.limit_gradients(0)
        weight, bias = problem.model.parameters()
        assert float(weight.grad.norm()) == pytest.approx(expected, rel=1e-4)
        assert float(bias.grad.norm()) == pytest.approx(0.0 if climbs else 100.0, rel=1e-4)


def test_without_ascent_it_is_fine_tuning_on_the_retain_set():
    problem = linear_problem(6, 40)
    common = {"epochs": 2, "lr": 0.1, "batch_size": 64, "momentum": 0.0, "weight_decay": 0.0}
    found, tuned = (
        METHODS[name].run(problem, METHODS[name].params(**common, **options), seeded(), None)
        for name, options in (("sfron", {"ascent": 0.0}), ("ft", {}))
    )
    assert all(
        torch.allclose(a, b, atol=1e-6) for a, b in zip(found.parameters(), tuned.parameters(), strict=True)
    )


def test_a_descents_loss_is_the_plain_one():
    steps = steps_of(linear_problem(6, 40))
    batch = Batch(torch.zeros(2, 3, 8, 8), torch.tensor([0, 1]), torch.zeros(2))
    assert float(steps.loss(torch.zeros(2, 4), batch)) == pytest.approx(math.log(4))
