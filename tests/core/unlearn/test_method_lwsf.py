"""LwSF: its losses in closed form, what codes look like, and what the training that forgets is held to."""

import copy
from functools import cache

import pytest
import torch
from torch.nn import functional as F

from core.data import Batch
from core.unlearn import METHODS
from core.unlearn.lwsf import (
    CODES,
    FISHER,
    Forgetting,
    coarse_codes,
    margin_loss,
    mix,
    preserved_distillation,
    with_mixed,
)
from tests.core.toy_problem import class_problem, differing, seeded, suited

LWSF = METHODS["lwsf"]


@cache
def kept_problem():
    return suited(class_problem(), LWSF)


def test_the_margin_loss_is_a_cross_entropy_with_the_labels_logit_shifted():
    cosines, labels = torch.randn(5, 4, generator=seeded()).tanh(), torch.tensor([0, 1, 2, 3, 0])
    assert torch.allclose(margin_loss(cosines, labels, 0.0, 1.0), F.cross_entropy(cosines, labels))
    shifted = cosines.clone()
    shifted[torch.arange(5), labels] -= 0.35
    assert torch.allclose(margin_loss(cosines, labels, 0.35, 30.0), F.cross_entropy(30 * shifted, labels))
    wrong = torch.tensor([[-1.0, 1.0]], requires_grad=True)
    margin_loss(wrong, torch.tensor([0]), 0.35, 30.0).backward()
    assert wrong.grad.tolist() == [pytest.approx([-30, 30])]  # no saturation however wrong


def test_mixing_goes_from_the_code_to_the_image():
    images, codes = torch.rand(3, 1, 2, 2, generator=seeded()), torch.rand(4, 1, 2, 2, generator=seeded(1))
    labels = torch.tensor([3, 0, 2])
    assert torch.equal(mix(images, codes, labels, 1.0), images)
    assert torch.equal(mix(images, codes, labels, 0.0), codes[labels])
    found = mix(images, codes, labels, torch.tensor([0.25, 0.5, 1.0]))
    assert torch.allclose(found[0], 0.25 * images[0] + 0.75 * codes[3])


def test_codes_are_blocks_of_noise_a_quarter_of_the_images_size():
    codes = coarse_codes(4, (3, 10, 8), seeded())
    assert codes.shape == (4, 3, 10, 8)
    assert torch.equal(codes[:, :, :4, :4], codes[:, :, :1, :1].expand(4, 3, 4, 4))
    assert len(codes.unique()) == 4 * 3 * 3 * 2
    assert 0 <= float(codes.min()) < float(codes.max()) < 1


def test_a_doubled_batch_has_the_mean_of_both_losses():
    batch = Batch(torch.rand(4, 3, 8, 8, generator=seeded()), torch.arange(4), None)
    found = with_mixed(batch, coarse_codes(4, (3, 8, 8), seeded(1)), 0.5, seeded(2))
    assert torch.equal(found.images[:4], batch.images)
    assert not torch.equal(found.images[4:], batch.images)
    losses = torch.arange(8.0)
    assert float((losses * found.weights).mean()) == pytest.approx(
        float(losses[:4].mean() + 0.5 * losses[4:].mean())
    )


def test_distillation_is_among_the_classes_that_stay():
    logits, teacher = torch.randn(6, 4, generator=seeded()), torch.randn(6, 4, generator=seeded(1))
    found = preserved_distillation(logits, teacher, [1, 3], 2.0)
    other = teacher.clone()
    other[:, 0] = 50.0  # what a forgotten class had is nobody's business
    assert torch.allclose(preserved_distillation(logits, other, [1, 3], 2.0), found)
    assert float(preserved_distillation(teacher, teacher, [1, 3], 2.0)) == pytest.approx(0, abs=1e-6)
    p, q = (x[:, [1, 3]].div(2).softmax(1) for x in (teacher, logits))
    assert float(found) == pytest.approx(float(4 * (p * (p / q).log()).sum(1).mean()), rel=1e-4)


def test_weights_are_held_by_what_mattered_to_the_classes_that_stay():
    problem = kept_problem()
    model = copy.deepcopy(problem.model)
    forgetting = Forgetting(problem, LWSF.params(ewc=3.0), model, [0])
    assert forgetting.stay == [1, 2, 3]
    name = "classifier.weight"
    fisher = torch.stack([problem.kept[f"{FISHER}{label}.{name}"] for label in (1, 2, 3)]).mean(0)
    weight = model.classifier.weight
    for p in model.parameters():
        p.grad = torch.zeros_like(p)
    forgetting.hold(0)
    assert not weight.grad.any()  # at the original itself
    with torch.no_grad():
        weight.add_(0.5)
    forgetting.hold(0)
    assert torch.allclose(weight.grad, 3.0 * fisher * 0.5, rtol=1e-4)


def test_codes_alone_leave_the_networks_statistics_and_read_no_image():
    problem = kept_problem()
    found = LWSF.run(problem, LWSF.params(epochs=1, steps=2, lr=1e-3), seeded(), None)
    changed = differing(found, problem.model)
    assert changed
    assert not any("running" in name for name in changed)
    batch = next(Forgetting(problem, LWSF.params(), copy.deepcopy(problem.model), [0]).epoch(found, seeded()))
    assert torch.equal(batch.images, problem.kept[CODES][1:])


def test_retained_images_are_the_task_at_hand_if_asked_for():
    problem = kept_problem()
    params = LWSF.params(data="retain", batch_size=24)
    forgetting = Forgetting(problem, params, copy.deepcopy(problem.model), [0])
    sizes = [len(batch.labels) for batch in forgetting.epoch(problem.model, seeded())]
    assert sizes == [24 + 24 + 3] * 3
