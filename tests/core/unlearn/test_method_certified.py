"""Certified removal: the Newton step and its bounds, the budget, the fit, and what the head sees."""

import copy
import math
from dataclasses import replace

import pytest
import torch

from core.errors import BadInput
from core.models import unit_features, unit_head_of
from core.quant import QuantSpec
from core.unlearn import METHODS
from core.unlearn.certified import WEIGHTS, budget, newton_step, one_against_others
from core.unlearn.logistic import fit_head, worst_case
from tests.core.toy_problem import (
    FP,
    PLAIN,
    class_problem,
    differing,
    seeded,
    suited,
    toy_model,
    trained_with,
    untrained_problem,
)

CERTIFIED = METHODS["certified"]
DECAY = 0.01


@pytest.fixture(scope="module")
def regression():
    """40 rows of length 1, labels that hang on them, noise, and the minimum."""
    x = torch.nn.functional.normalize(torch.randn(40, 5, generator=seeded(), dtype=torch.float64))
    y = torch.sign(x[:, 0] + 0.3 * torch.randn(40, generator=seeded(1), dtype=torch.float64))
    noise = 0.1 * torch.randn(5, generator=seeded(2), dtype=torch.float64)
    return x, y, noise, fit_head(x, y, DECAY, noise)


def gradient(x, y, w, noise):
    return x.T @ ((torch.sigmoid(y * (x @ w)) - 1) * y) + DECAY * len(x) * w + noise


def test_the_fit_is_the_minimum(regression):
    x, y, noise, w = regression
    assert float(gradient(x, y, w, noise).norm()) < 1e-7


@pytest.mark.parametrize("removed", [torch.tensor([3]), torch.tensor([0, 7, 21]), torch.arange(10)])
def test_the_step_is_the_published_one_and_its_bounds_hold(regression, removed):
    x, y, noise, w = regression
    new, bound = newton_step(x, y, w, removed, DECAY, noise)
    stay = torch.ones(40, dtype=torch.bool)
    stay[removed] = False
    kept, labels = x[stay], y[stay]
    right = torch.sigmoid(labels * (kept @ w))
    hessian = kept.T @ ((right * (1 - right))[:, None] * kept) + DECAY * len(kept) * torch.eye(5)
    step = torch.linalg.solve(hessian, gradient(x[removed], y[removed], w, 0))  # with decay m w in it
    assert torch.allclose(new, w + step, atol=1e-8)
    norms = torch.linalg.matrix_norm(kept, 2) * step.norm() * (kept @ step).norm()
    assert bound == pytest.approx(float(norms / 4), rel=1e-6)
    assert float(gradient(kept, labels, new, noise).norm()) <= bound <= worst_case(40, len(removed), DECAY)


def test_what_is_left_is_quadratic_in_the_step(regression):
    """Half the weight of an image leaves a quarter."""
    x, y, noise, w = regression
    _, one = newton_step(x, y, w, torch.tensor([3]), DECAY, noise)
    _, many = newton_step(x, y, w, torch.tensor([3, 4, 5, 6]), DECAY, noise)
    assert many > one
    assert newton_step(x, y, w, torch.arange(0), DECAY, noise)[1] == pytest.approx(0, abs=1e-12)


def test_without_noise_none_is_needed(regression):
    x, y, _, _ = regression
    w = fit_head(x, y, DECAY, torch.zeros(5))
    removed = torch.tensor([1, 2])
    plain, noisy = newton_step(x, y, w, removed, DECAY), newton_step(x, y, w, removed, DECAY, torch.zeros(5))
    assert torch.equal(plain[0], noisy[0])
    assert plain[1] == noisy[1]


def test_the_budget_is_that_of_objective_perturbation():
    c = math.sqrt(2 * math.log(1.5 / 1e-4))
    assert budget(1.0, 1e-4, 10.0) == pytest.approx(10 / c)
    assert 1.5 * math.exp(-(c**2) / 2) == pytest.approx(1e-4)


@pytest.fixture(scope="module")
def problem():
    return suited(class_problem(), CERTIFIED)


def run(problem, **options):
    told = {}
    params = CERTIFIED.params(**options)
    found = CERTIFIED.run(problem, params, seeded(), lambda _epoch, facts: told.update(facts))
    return found, told


def test_the_head_is_the_minimum_without_the_images_up_to_the_bound(problem):
    found, told = run(problem)
    x = unit_features(found, PLAIN.normalise(problem.retain.pixels)).detach().double()
    gradients = []
    for label in range(4):
        noise = problem.kept["noise"][label]
        retrained = fit_head(x, one_against_others(problem.retain.labels, label), 1e-3, noise)
        gradients.append(float((retrained - problem.kept[WEIGHTS][label]).norm()))
    assert max(gradients) > 0  # the images did matter
    assert told["head_certificate_bound"] > 0
    assert told["head_certificate_epsilon"] == pytest.approx(
        told["head_certificate_bound"] * math.sqrt(2 * math.log(1.5 / 1e-4))
    )


def test_a_request_beyond_the_budget_is_refused_in_one_line(problem):
    with pytest.raises(
        BadInput, match=r"epsilon=1e-06 allows .*request 1 of 1 brings them to .*: retrain"
    ) as caught:
        run(problem, epsilon=1e-6)
    assert "\n" not in str(caught.value)
    spent = run(problem)[1]["head_certificate_epsilon"]
    assert differing(run(problem, epsilon=1.01 * spent)[0], run(problem)[0]) == []


def test_bounds_of_requests_in_a_row_add_up(problem):
    parts = [problem.forget, problem.retain]
    seen = torch.cat(
        [unit_features(problem.model, PLAIN.normalise(p.pixels)).detach().double() for p in parts]
    )
    labels, total = torch.cat([p.labels for p in parts]), 0.0
    weights = list(problem.kept[WEIGHTS])
    for start in (0, 12):
        bounds = []
        for label in range(4):
            targets = one_against_others(labels[start:], label)
            noise = problem.kept["noise"][label]
            weights[label], bound = newton_step(
                seen[start:], targets, weights[label], torch.arange(12), 1e-3, noise
            )
            bounds.append(bound)
        total += math.hypot(*bounds)
    _, told = run(problem, requests=2)
    assert told["head_certificate_bound"] == pytest.approx(total, rel=1e-4)
    spent = told["head_certificate_epsilon"]
    with pytest.raises(BadInput, match=r"request 2 of 2 brings them"):
        run(problem, requests=2, epsilon=0.999 * spent)


@pytest.mark.parametrize("label", ["fp", "4w4a", "4w4a-dsq"])
def test_features_have_length_one_where_the_weights_see_them(label):
    model = CERTIFIED.hook.built(toy_model(quant=QuantSpec.parse(label)), {})
    x = PLAIN.normalise(class_problem().retain.pixels[:6])
    seen = unit_features(model, x)
    assert torch.allclose(seen.norm(dim=1), torch.ones(6))
    head = unit_head_of(model)
    weight = head.weight if label == "fp" else head.weight_quantizer(head.weight)
    assert torch.equal(model(x), seen @ weight.T)


def test_a_frozen_backbone_stays_as_it_was_and_the_head_alone_is_fitted():
    problem = untrained_problem(FP)
    problem = replace(problem, model=copy.deepcopy(problem.model))
    params = CERTIFIED.params(backbone="frozen")
    model, part = trained_with(problem, CERTIFIED, params)
    start = CERTIFIED.hook.built(copy.deepcopy(problem.model), {})
    from core.unlearn.fresh import start_

    start_(start, part.training.images, PLAIN, 24, seeded(1))
    assert differing(start, model) == ["classifier.weight"]
    assert all(p.requires_grad for p in model.parameters())
