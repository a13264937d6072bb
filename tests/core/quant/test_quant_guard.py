"""StepGuard: one gradient's effect on a step is bounded, and 8-bit ends survive the paper's learning rate."""

from itertools import pairwise

import pytest
import torch

from core.data.loader import batches
from core.metrics.predictions import predict
from core.models import build
from core.quant import QuantSpec, StepGuard, quantizer_faults, quantizers
from core.quant.base import SMALLEST_STEP
from core.train.loop import TrainParams, fit
from core.unlearn.retrain import train_from_scratch
from tests.core.toy_problem import CLASSES, FP, PLAIN, W4A4, seeded, toy_images, toy_model

TRUST = 0.0025
LR = 0.1


def steps_of(model):
    return torch.stack([p.detach().clone() for _, q in quantizers(model) for p in q.steps()])


def push(model, sign):
    """Every parameter gets a gradient of enormous size."""
    for p in model.parameters():
        p.grad = torch.full_like(p, sign * 1e30)


def guarded_steps(model, updates, sign, trust=TRUST, momentum=0.0):
    """Steps after each guarded SGD update under the same huge gradient; weights are left out."""
    steps = [p for _, q in quantizers(model) for p in q.steps()]
    optimizer = torch.optim.SGD(steps, LR, momentum)
    guard = StepGuard(model, trust)
    seen = [steps_of(model)]
    for _ in range(updates):
        push(model, sign)
        with guard.around_update(LR):
            optimizer.step()
        seen.append(steps_of(model))
    return seen


@pytest.mark.parametrize("sign", [-1, 1])
def test_one_update_moves_a_step_by_at_most_trust_of_itself(sign):
    before, after = guarded_steps(toy_model(), 1, sign)
    torch.testing.assert_close(after, before * (1 - sign * TRUST))


def test_steps_stay_positive_under_gradients_that_always_point_down():
    seen = guarded_steps(toy_model(), 300, 1, momentum=0.9)
    assert all(bool((s > 0).all()) for s in seen)
    assert all(bool((b < a).all()) for a, b in pairwise(seen))


def test_one_huge_gradient_never_adds_up_to_more_than_trust_over_one_minus_momentum():
    model = toy_model()
    steps = [p for _, q in quantizers(model) for p in q.steps()]
    optimizer = torch.optim.SGD(steps, LR, 0.9)
    guard, before = StepGuard(model, TRUST), steps_of(model)
    for update in range(100):
        if update == 0:
            push(model, 1)
        else:
            for p in steps:
                p.grad = torch.zeros_like(p)
        with guard.around_update(LR):
            optimizer.step()
    torch.testing.assert_close(steps_of(model), before * (1 - TRUST / (1 - 0.9)))


def test_no_update_shrinks_a_step_by_more_than_half():
    before, after = guarded_steps(toy_model(), 1, 1, trust=10.0)
    assert torch.equal(after, before / 2)


def test_small_gradients_pass_unchanged():
    model = toy_model()
    for p in model.parameters():
        p.grad = torch.full_like(p, 1e-9)
    with StepGuard(model, TRUST).around_update(LR):
        pass
    assert all(bool((p.grad == 1e-9).all()) for p in model.parameters())


def test_weights_and_offsets_are_not_clipped():
    model = toy_model()
    push(model, 1)
    with StepGuard(model, TRUST).around_update(LR):
        pass
    steps = {id(p) for _, q in quantizers(model) for p in q.steps()}
    others = [p for p in model.parameters() if id(p) not in steps]
    assert len(others) > 40
    assert all(bool((p.grad == 1e30).all()) for p in others)


@pytest.mark.parametrize("trust", [TRUST, None])
def test_fit_keeps_steps_positive_with_and_without_the_guard(trust):
    model = toy_model()
    before = steps_of(model)
    params = TrainParams(epochs=1, lr=0.1, step_trust=trust, momentum=0.0, batch_size=32)
    images = toy_images(32)

    def push_all(_epoch):
        push(model, 1)

    fit(model, lambda _e: batches(images, 32, PLAIN, seeded()), params, seeded(), on_gradient=push_all)
    after = steps_of(model)
    expected = before * (1 - TRUST) if trust else torch.full_like(before, SMALLEST_STEP)
    torch.testing.assert_close(after, expected)


def dsq_model():
    return toy_model(quant=QuantSpec.parse("4w4a-dsq"))


def ends_of(model):
    """Lower and upper ends of all ranges, each Q."""
    ends = [q.limits() for _, q in quantizers(model)]
    return [torch.stack([pair[i].detach().clone() for pair in ends]) for i in (0, 1)]


def squeeze(model, size=1e30):
    """Gradients that pull both ends of every range together."""
    for _, quantizer in quantizers(model):
        for end, sign in zip(quantizer.limits(), (-1, 1), strict=True):
            end.grad = torch.full_like(end, sign * size)


def squeezed(model, updates, trust=TRUST, momentum=0.0):
    optimizer = torch.optim.SGD([p for _, q in quantizers(model) for p in q.parameters()], LR, momentum)
    guard = StepGuard(model, trust)
    for _ in range(updates):
        squeeze(model)
        with guard.around_update(LR):
            optimizer.step()


def test_one_update_narrows_a_range_by_at_most_trust_of_itself_from_both_ends_alike():
    model = dsq_model()
    (low, high), centre = ends_of(model), torch.stack(ends_of(model)).mean(0)
    squeezed(model, 1)
    after_low, after_high = ends_of(model)
    torch.testing.assert_close(after_high - after_low, (high - low) * (1 - TRUST))
    torch.testing.assert_close((after_low + after_high) / 2, centre)


def test_ranges_stay_ranges_under_gradients_that_always_pull_them_together():
    model = dsq_model()
    squeezed(model, 100, momentum=0.9)
    low, high = ends_of(model)
    assert bool((low < high).all())
    assert quantizer_faults(model) == {}


def test_no_update_shrinks_a_range_by_more_than_half():
    model = dsq_model()
    (low, high), centre = ends_of(model), torch.stack(ends_of(model)).mean(0)
    squeezed(model, 1, trust=10.0)
    after_low, after_high = ends_of(model)
    torch.testing.assert_close(after_high - after_low, (high - low) / 2)
    torch.testing.assert_close((after_low + after_high) / 2, centre)


def test_a_pact_clip_is_bounded_as_a_step_is():
    model = toy_model(quant=QuantSpec.parse("4a-pact"))
    before = steps_of(model)
    assert len(before) == 20  # all layers but the first, which reads images
    torch.testing.assert_close(guarded_steps(model, 1, 1)[1], before * (1 - TRUST))


def test_guard_of_a_full_precision_model_does_nothing():
    model = toy_model(quant=FP)
    push(model, 1)
    with StepGuard(model, TRUST).around_update(LR):
        pass
    assert all(bool((p.grad == 1e30).all()) for p in model.parameters())


def test_eight_bit_ends_do_not_collapse_at_the_papers_learning_rate():
    """Regression: without the bound these steps reach the floor of 1e-8 in the first epoch."""
    model = build("resnet18", CLASSES, generator=seeded(), width=0.01, quant=W4A4)
    images, steps_E4 = toy_images(96, size=16), []

    def record(_epoch, _facts):
        ends = [q for _, q in quantizers(model) if q.bits == 8]
        steps_E4.append(torch.stack([q.step.detach().clone() for q in ends]))

    train_from_scratch(model, images, PLAIN, TrainParams(epochs=8, lr=0.1, batch_size=24), seeded(1), record)
    history = torch.stack(steps_E4)
    assert history.shape == (8, 4)
    assert float((history.amax(0) / history.amin(0)).max()) < 2
    assert quantizer_faults(model) == {}
    assert predict(model, images, PLAIN).accuracy > 90
