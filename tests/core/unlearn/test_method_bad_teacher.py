"""Bad teacher (ALGORITHMS 8.4)."""

from dataclasses import replace

import pytest
import torch

from core.data.loader import Images
from core.quant import quantizer_faults
from core.unlearn import bad_teacher as module
from core.unlearn.bad_teacher import BadTeacherParams, bad_teacher, ignorant
from core.unlearn.scrub import distillation
from tests.core.toy_problem import PLAIN, class_problem, differing, loss_on, seeded

SHORT = {"batch_size": 24}


def test_the_bad_teacher_is_a_healthy_network_that_knows_nothing(problem):
    bad = ignorant(problem, 24, seeded())
    assert quantizer_faults(bad) == {}
    assert not any(m.training for m in bad.modules())
    assert loss_on(bad, problem.retain) > 1
    assert differing(bad, ignorant(problem, 24, seeded())) == []


def test_no_label_is_read(problem):
    def relabelled(images):
        return images.relabelled(torch.full_like(images.labels, 10**6))

    blind = replace(problem, forget=relabelled(problem.forget), retain=relabelled(problem.retain))
    params = BadTeacherParams(**SHORT)
    assert differing(bad_teacher(blind, params, seeded()), bad_teacher(problem, params, seeded())) == []


@pytest.mark.parametrize(("share", "count"), [(0.3, 22), (1.0, 72), (1e-6, 1)])
def test_a_share_of_the_retain_set_takes_part_and_all_of_the_forget_set(problem, monkeypatch, share, count):
    given = []

    def recorded(images: Images, *rest):
        given.append(images)
        return batches(images, *rest)

    batches = module.batches
    monkeypatch.setattr(module, "batches", recorded)
    bad_teacher(problem, BadTeacherParams(epochs=2, retained=share, batch_size=25), seeded())
    for images in given:
        assert torch.equal(images.pixels[:24], problem.forget.pixels)
        assert images.weights.tolist() == [1.0] * 24 + [0.0] * count
    assert torch.equal(given[0].pixels, given[1].pixels)


def test_the_student_sides_with_the_bad_teacher_on_forgotten_images_and_with_the_good_one_elsewhere():
    problem = class_problem()
    bad = ignorant(problem, 24, seeded())  # the first draws of a run
    found = bad_teacher(problem, BadTeacherParams(epochs=6, retained=1.0, lr=0.02, **SHORT), seeded())

    def apart(student, teacher, images):
        x = PLAIN.normalise(images.pixels)
        with torch.no_grad():
            return float(distillation(student.eval()(x), teacher.eval()(x), 1.0).mean())

    assert apart(found, bad, problem.forget) < 0.5 * apart(problem.model, bad, problem.forget)
    assert apart(found, problem.model, problem.retain) < 0.5 * apart(found, bad, problem.retain)
