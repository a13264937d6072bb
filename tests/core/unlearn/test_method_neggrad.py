"""NegGrad+ against its equation written out by hand, and what its options change."""

import copy
from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from core.data import batches
from core.unlearn import METHODS
from core.unlearn.neggrad import neggrad_loss, paired_batches
from tests.core.toy_problem import PLAIN, differing, linear_problem, seeded, state_of

ONE_STEP = {"epochs": 1, "lr": 0.1, "momentum": 0.0, "weight_decay": 0.0, "batch_size": 64}


def run(problem, **options):
    method = METHODS["neggrad"]
    return method.run(problem, method.params(**ONE_STEP | options), seeded(), None)


def mean_loss(model, images):
    return F.cross_entropy(model(PLAIN.normalise(images.pixels)), images.labels)


def test_the_loss_is_the_weighted_difference():
    found = neggrad_loss(torch.tensor(2.0), torch.tensor(3.0), 0.9)
    assert float(found) == pytest.approx(0.9 * 2 - 0.1 * 3)


@pytest.mark.parametrize("alpha", [0.5, 0.95, 1.0])
def test_one_step_follows_the_equation(alpha):
    problem = linear_problem(8, 24, std=0.02)
    model = copy.deepcopy(problem.model)
    loss = neggrad_loss(mean_loss(model, problem.retain), mean_loss(model, problem.forget), alpha)
    grads = torch.autograd.grad(loss, list(model.parameters()))
    with torch.no_grad():
        for p, g in zip(model.parameters(), grads, strict=True):
            p.sub_(0.1 * g)
    found = run(problem, alpha=alpha)
    for p, expected in zip(found.parameters(), model.parameters(), strict=True):
        assert torch.allclose(p, expected, atol=1e-6)


def test_the_forget_set_is_gone_over_again_until_the_retain_set_ends():
    problem = linear_problem(5, 24)
    found = list(paired_batches(problem.retain, problem.forget, 4, PLAIN, seeded()))
    assert [int(batch.weights.sum()) for batch in found] == [4, 1, 4, 1, 4, 1]
    assert [len(batch.labels) for batch in found] == [8, 5, 8, 5, 8, 5]
    left = torch.cat([batch.images[batch.weights > 0] for batch in found[:2]])
    whole = next(batches(problem.forget, 5, PLAIN, seeded(1))).images
    assert torch.equal(left.flatten(1).sum(1).sort().values, whole.flatten(1).sum(1).sort().values)


def test_above_the_cap_the_forget_set_pulls_no_more():
    problem = linear_problem(8, 24, std=0.02)
    free = run(problem, alpha=0.5, cap=1e-6)  # every image's loss is above it
    lonely = run(replace(problem, forget=problem.forget.select(torch.arange(1))), alpha=0.5, cap=1e-6)
    assert all(
        torch.allclose(a, b, atol=1e-6) for a, b in zip(free.parameters(), lonely.parameters(), strict=True)
    )
    assert differing(free, run(problem, alpha=0.5))


def test_frozen_statistics_stay_and_moving_ones_move(problem):
    before = {name: t for name, t in state_of(problem.model).items() if "running" in name}
    for statistics, moves in (("frozen", False), ("moving", True)):
        after = run(problem, statistics=statistics, lr=1e-3).state_dict()
        assert any(not torch.equal(after[name], t) for name, t in before.items()) is moves
