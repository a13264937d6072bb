"""SCRUB (ALGORITHMS 8.3)."""

from dataclasses import replace

import torch

from core.unlearn import UnlearnParams
from core.unlearn.finetune import finetune
from core.unlearn.scrub import ScrubParams, distillation, scrub
from tests.core.toy_problem import (
    PLAIN,
    Watch,
    class_problem,
    linear_problem,
    loss_on,
    parameters_of,
    seeded,
)

STILL = {"momentum": 0.0, "weight_decay": 0.0}


def test_a_student_like_its_teacher_has_no_divergence_and_no_gradient():
    logits = torch.randn(5, 4, generator=seeded()).requires_grad_()
    apart = distillation(logits, logits.detach(), 4.0)
    torch.testing.assert_close(apart, torch.zeros(5), rtol=0, atol=1e-6)
    assert float(torch.autograd.grad(apart.sum(), logits)[0].abs().max()) < 1e-6


def test_divergence_is_teacher_first_and_scaled_by_the_squared_temperature():
    student, teacher = torch.randn(2, 6, 4, generator=seeded())
    p, q = (teacher / 2).softmax(1), (student / 2).softmax(1)
    torch.testing.assert_close(distillation(student, teacher, 2.0), 4 * (p * (p / q).log()).sum(1))


def test_the_scale_makes_the_gradient_independent_of_a_high_temperature():
    student, teacher = torch.randn(2, 6, 4, generator=seeded())
    student.requires_grad_()
    grads = [torch.autograd.grad(distillation(student, teacher, t).sum(), student)[0] for t in (50.0, 500.0)]
    torch.testing.assert_close(*grads, rtol=0.05, atol=1e-3)
    assert float(grads[0].norm()) > 0.1


def test_the_first_max_step_stands_still():
    """At the start K and its gradient are 0: something else, such as decay or noise, must move the student."""
    problem = linear_problem(24, 24)
    params = ScrubParams(epochs=1, msteps=1, alpha=0, gamma=0, lr=0.1, forget_batch_size=24, **STILL)
    start = parameters_of(problem.model)
    for name, p in parameters_of(scrub(problem, params, seeded())).items():
        torch.testing.assert_close(p, start[name], rtol=0, atol=1e-6)
    shrunk = scrub(problem, params.model_copy(update={"weight_decay": 0.5}), seeded())
    for name, p in parameters_of(shrunk).items():
        torch.testing.assert_close(p, start[name] * (1 - 0.1 * 0.5) ** 2, rtol=1e-3, atol=1e-6)


def test_without_max_passes_and_distillation_it_is_fine_tuning(problem):
    common = {"epochs": 2, "batch_size": 24, "lr": 0.02}
    found = scrub(problem, ScrubParams(msteps=0, alpha=0, gamma=1, **common), seeded())
    expected = finetune(problem, UnlearnParams(**common), seeded())
    for name, p in parameters_of(expected).items():
        torch.testing.assert_close(found.get_parameter(name).detach(), p, rtol=1e-3, atol=1e-4)


def test_every_max_pass_ends_before_its_min_pass_and_there_are_msteps_of_them(problem):
    problem = replace(problem, model=Watch(problem.model))
    scrub(
        problem,
        ScrubParams(epochs=3, msteps=2, batch_size=24, forget_batch_size=12),
        seeded(),
    )
    sizes = [len(x) for training, _, x, _ in problem.model.log if training]
    assert sizes == [12, 12, 24, 24, 24] * 2 + [24] * 3


def test_the_teacher_is_the_original_in_eval_mode_all_along(problem):
    problem = replace(problem, model=Watch(problem.model))
    start = {name.removeprefix("inner."): t for name, t in parameters_of(problem.model).items()}
    scrub(problem, ScrubParams(epochs=2, batch_size=24), seeded())
    teaching = [(grad, state) for training, grad, _, state in problem.model.log if not training]
    assert teaching
    for grad, state in teaching:
        assert grad is False
        assert all(torch.equal(state[name], p) for name, p in start.items())


def test_the_student_leaves_the_teacher_on_the_forget_set_and_stays_with_it_elsewhere():
    problem = class_problem()
    params = ScrubParams(epochs=8, msteps=3, lr=0.01, batch_size=12, forget_batch_size=12)
    found = scrub(problem, params, seeded())
    rises = [loss_on(found, part) - loss_on(problem.model, part) for part in (problem.forget, problem.retain)]
    assert rises[0] > max(5 * rises[1], 1)


def test_alpha_keeps_the_student_near_the_teacher_on_retained_images():
    problem = linear_problem(24, 48)
    common = {"epochs": 3, "msteps": 0, "batch_size": 24, "lr": 1e-3, "temperature": 1.0}

    def apart(alpha):
        found = scrub(problem, ScrubParams(alpha=alpha, **common), seeded())
        with torch.no_grad():
            x = PLAIN.normalise(problem.retain.pixels)
            return float(distillation(found(x), problem.model(x), 1.0).mean())

    assert 0 < apart(100.0) < 0.5 * apart(0.0)
