"""GA (ALGORITHMS 4.2)."""

from dataclasses import replace

import pytest
import torch

from core.unlearn import UnlearnParams
from core.unlearn.finetune import finetune
from core.unlearn.gradient_ascent import GAParams, gradient_ascent
from tests.core.toy_problem import linear_problem, loss_on, parameters_of, seeded

ONE_STEP = {"epochs": 1, "batch_size": 64, "momentum": 0.0, "weight_decay": 0.0}


def logistic_problem():
    problem = linear_problem(32, 1)
    return replace(problem, retain=problem.forget)


def test_one_step_raises_the_forget_loss():
    problem = logistic_problem()
    before = loss_on(problem.model, problem.forget)
    found = gradient_ascent(problem, GAParams(lr=1e-3, **ONE_STEP), seeded())
    assert loss_on(found, problem.forget) > before


def test_the_step_is_minus_fine_tunings_on_the_same_batch():
    problem = logistic_problem()
    start = parameters_of(problem.model)
    up = parameters_of(gradient_ascent(problem, GAParams(lr=1e-2, **ONE_STEP), seeded()))
    down = parameters_of(finetune(problem, UnlearnParams(lr=1e-2, **ONE_STEP), seeded()))
    for name in start:
        torch.testing.assert_close(up[name] - start[name], start[name] - down[name], rtol=1e-3, atol=1e-7)
        assert not torch.equal(up[name], start[name])


def test_it_raises_the_forget_loss_of_a_quantized_network(problem):
    found = gradient_ascent(problem, GAParams(lr=3e-2, batch_size=24), seeded())
    assert loss_on(found, problem.forget) > loss_on(problem.model, problem.forget)


def test_normalisation_statistics_follow_the_forget_set(problem):
    found = gradient_ascent(problem, GAParams(epochs=1, batch_size=24), seeded())
    name = "stem.1.running_mean"
    assert not torch.equal(found.state_dict()[name], problem.model.state_dict()[name])


@pytest.mark.parametrize("retained", [1, 72])
def test_the_retain_set_has_no_influence(problem, retained):
    params = GAParams(epochs=1, batch_size=24)
    all_of_it = gradient_ascent(problem, params, seeded())
    less = replace(problem, retain=problem.retain.select(torch.arange(retained)))
    some = gradient_ascent(less, params, seeded())
    assert all(
        torch.equal(a, b)
        for a, b in zip(all_of_it.state_dict().values(), some.state_dict().values(), strict=True)
    )
