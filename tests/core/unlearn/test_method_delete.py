"""DELETE's targets, and where its training begins and ends."""

import math

import pytest
import torch

from core.unlearn import METHODS
from core.unlearn.delete import delete_targets
from tests.core.toy_problem import PLAIN, class_problem, linear_problem, loss_on, seeded


def test_targets_are_the_other_classes_in_proportion():
    p_NK = torch.tensor([[0.5, 0.25, 0.125, 0.125], [0.1, 0.2, 0.3, 0.4]])
    found = delete_targets(p_NK.log() + 3.0, torch.tensor([0, 3]))
    assert torch.allclose(found, torch.tensor([[0, 0.5, 0.25, 0.25], [1 / 6, 1 / 3, 0.5, 0]]))
    assert found[0, 0] == 0
    assert torch.allclose(found.sum(1), torch.ones(2))


def test_the_loss_starts_at_minus_the_logarithm_of_what_is_not_the_label():
    problem, told = linear_problem(8, 24, std=0.02), []
    method = METHODS["delete"]
    params = method.params(epochs=1, lr=1e-9, batch_size=64)
    method.run(problem, params, seeded(), lambda _epoch, facts: told.append(facts["loss"]))
    p_N = problem.model(PLAIN.normalise(problem.forget.pixels)).softmax(1)
    p_N = p_N.gather(1, problem.forget.labels[:, None])[:, 0]
    assert told == [pytest.approx(-(1 - p_N.detach()).log().mean().item(), rel=1e-4)]


def test_one_step_goes_from_the_students_probabilities_to_the_targets():
    problem = linear_problem(8, 24, std=0.02)
    method = METHODS["delete"]
    params = method.params(epochs=1, lr=0.5, momentum=0.0, batch_size=64)
    found = method.run(problem, params, seeded(), None)
    x_ND = PLAIN.normalise(problem.forget.pixels).flatten(1)
    logits = problem.model(PLAIN.normalise(problem.forget.pixels)).detach()
    error_NK = (logits.softmax(1) - delete_targets(logits, problem.forget.labels)) / 8
    assert torch.allclose(found[1].weight, problem.model[1].weight - 0.5 * error_NK.T @ x_ND, atol=1e-5)


def test_a_class_is_forgotten_without_the_retain_set():
    problem = class_problem()
    method = METHODS["delete"]
    found = method.run(problem, method.params(epochs=8, lr=0.1, batch_size=24), seeded(), None)
    assert loss_on(found, problem.forget) > math.log(4)
