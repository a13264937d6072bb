"""ZeroShotMU: maps, losses and the gate in closed form, and that no image is ever read."""

import math
from dataclasses import replace

import pytest
import torch

from core.data import Images
from core.unlearn import METHODS
from core.unlearn.gated_transfer import TRUST, Maps, adam, divergence
from core.unlearn.zero_shot import ZeroShotParams, attention_map, band_pass, learned_noise, student_loss
from tests.core.toy_problem import PLAIN, W4A4, class_problem, differing, seeded, toy_images, toy_model

ZERO = METHODS["zero_shot"]
BRIEF = {"pseudo_batches": 2, "student_steps": 2, "batch_size": 8, "noise_images": 4, "noise_steps": 3}


def test_an_attention_map_is_the_mean_square_over_channels_at_length_one():
    a = torch.tensor([[[[3.0, 0.0]], [[4.0, 2.0]]]])
    found = attention_map(a)  # mean squares 12.5 and 2
    assert found.tolist() == [pytest.approx([12.5 / math.hypot(12.5, 2), 2 / math.hypot(12.5, 2)])]
    assert torch.allclose(attention_map(5 * a), found)


def test_the_students_loss_adds_kl_and_maps():
    p, q = torch.tensor([[0.7, 0.3], [0.5, 0.5]]), torch.tensor([[0.4, 0.6], [0.5, 0.5]])
    kl = sum(float(a * (a / b).log()) for a, b in zip(p[0], q[0], strict=True)) / 2
    assert float(divergence(q.log(), p.log())) == pytest.approx(kl, rel=1e-5)
    s, t = [torch.rand(2, 3, 2, 2, generator=seeded(n)) for n in (0, 1)]
    apart = float((attention_map(s) - attention_map(t)).square().mean())
    found = student_loss(q.log(), p.log(), [s, t], [t, t], 250.0)
    assert float(found) == pytest.approx(kl + 250 * apart, rel=1e-4)
    assert float(student_loss(p.log(), p.log(), [t], [t], 250.0)) == pytest.approx(0, abs=1e-6)
    assert float(student_loss(q.log(), p.log(), [], [], 250.0)) == pytest.approx(kl, rel=1e-5)


def test_the_gate_is_for_every_forgotten_class():
    p = torch.tensor([[0.005, 0.005, 0.99], [0.5, 0.0, 0.5], [0.0, 0.02, 0.98]])
    assert band_pass(p, [0, 1], 0.01).tolist() == [True, False, False]
    assert band_pass(p, [1], 0.01).tolist() == [True, True, False]
    assert band_pass(p, [0, 1], 1.0).all()
    assert not band_pass(p + 1e-6, [0], 0.0).any()


@pytest.mark.parametrize("variant", ["gkt", "noise"])
def test_no_image_is_ever_read(variant):
    problem = class_problem()
    params = ZERO.params(variant=variant, threshold=1.0, **BRIEF)
    found = ZERO.run(problem, params, seeded(), None)

    def blank(images):
        return Images(torch.zeros_like(images.pixels), images.labels)

    blind = replace(problem, forget=blank(problem.forget), retain=blank(problem.retain))
    assert differing(found, ZERO.run(blind, params, seeded(), None)) == []


@pytest.mark.parametrize(("threshold", "share"), [(1.0, 1.0), (0.0, 0.0)])
def test_what_passes_the_gate_is_told(threshold, share):
    told = {}
    params = ZERO.params(threshold=threshold, **BRIEF)
    ZERO.run(class_problem(), params, seeded(), lambda _epoch, facts: told.update(facts))
    assert told["passed"] == share


def test_maps_are_of_each_size_the_last_and_leave_no_hook_behind():
    model = toy_model()
    maps = Maps(model)
    logits, seen = maps(PLAIN.normalise(toy_images(4).pixels))
    assert logits.shape == (4, 4)
    assert [tuple(a.shape[2:]) for a in seen] == [(8, 8), (4, 4), (2, 2), (1, 1)]
    maps.remove()
    assert not any(m._forward_pre_hooks for m in model.modules())


def test_a_step_moves_a_quantizer_in_proportion_to_its_size():
    model = toy_model(quant=W4A4)
    optimizer = adam(model, 0.1)
    step = model.classifier.weight_quantizer.step
    before = float(step.detach())
    for p in model.parameters():
        p.grad = torch.ones_like(p)
    optimizer.step()
    assert float(step.detach()) == pytest.approx(before * (1 - TRUST), rel=1e-4)
    assert float((model.classifier.bias.detach()).abs().max()) > 0.01


def test_noise_is_taken_for_its_class_or_least_for_it():
    problem = class_problem()
    params = ZeroShotParams(noise_images=6, noise_steps=40, noise_penalty=0.0)
    kept = learned_noise(problem, params, [1, 2], 1.0, seeded())
    lost = learned_noise(problem, params, [0], -1.0, seeded())
    assert kept.labels.tolist() == [1] * 6 + [2] * 6
    chance = [
        problem.model(b.images).softmax(1).gather(1, b.labels[:, None]).mean().item() for b in (kept, lost)
    ]
    assert chance[0] > 0.8
    assert chance[1] < 0.1
