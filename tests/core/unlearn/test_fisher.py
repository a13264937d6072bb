"""Diagonals of the Fisher matrix, against one backward pass for each image and label."""

import pytest
import torch
from torch.nn import functional as F

from core.data.loader import plain_batches
from core.unlearn.fisher import batch_fisher, expected_losses, label_losses, sampled_fisher
from tests.core.toy_problem import CLASSES, PLAIN, differing, fresh_problem, linear_problem, seeded, state_of


def problem_and_moved():
    problem = linear_problem(8, 16, std=0.02)
    return problem, list(problem.model.parameters())


def exact(problem, moved, weigh):
    """Σ over labels of weigh(p, label, truth) · squared gradient of -log p(label), mean over the retain set."""
    total = [torch.zeros_like(p) for p in moved]
    for batch in plain_batches(problem.retain, 1, PLAIN):
        for label in range(CLASSES):
            logits = problem.model(batch.images)
            loss = F.cross_entropy(logits, torch.tensor([label]))
            weight = weigh(logits.softmax(1)[0, label].item(), label, int(batch.labels))
            for t, g in zip(total, torch.autograd.grad(loss, moved), strict=True):
                t += weight * g**2 / len(problem.retain)
    return total


def of_the_truth(_p, label, truth):
    return float(label == truth)


def of_all(p, _label, _truth):
    return p


@pytest.mark.parametrize(
    ("losses", "weigh"), [(label_losses, of_the_truth), (expected_losses, of_all)], ids=["label", "expected"]
)
def test_many_draws_of_signs_give_the_sum_of_squared_gradients(losses, weigh):
    problem, moved = problem_and_moved()
    passes = plain_batches(problem.retain, 8, PLAIN)
    found = sampled_fisher(problem.model, moved, passes, losses, seeded(), 3000)
    for estimate, value in zip(found, exact(problem, moved, weigh), strict=True):
        # √(2 / 6000) of an entry is one standard error at most; of 800 entries none is further off than five
        torch.testing.assert_close(estimate, value, rtol=0.1, atol=1e-6)


def test_the_estimate_is_right_on_average_and_not_only_on_many_draws():
    problem, moved = problem_and_moved()
    expected = exact(problem, moved, of_all)
    sums = [
        sampled_fisher(problem.model, moved, plain_batches(problem.retain, 16, PLAIN), expected_losses, g, 1)
        for g in map(seeded, range(400))
    ]
    mean = [torch.stack(each).mean(0).sum() for each in zip(*sums, strict=True)]
    for found, value in zip(mean, expected, strict=True):
        # a squared length of 64 signed gradients strays by √2 of itself at most, a mean of 400 by 0.07
        assert float(found / value.sum()) == pytest.approx(1, abs=0.2)


def test_a_batch_of_one_is_the_empirical_fisher_and_larger_batches_cancel():
    problem, moved = problem_and_moved()
    single, whole = (
        batch_fisher(problem.model, moved, plain_batches(problem.retain, size, PLAIN)) for size in (1, 16)
    )
    for found, expected in zip(single, exact(problem, moved, of_the_truth), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-9)
    for one, all_at_once in zip(single, whole, strict=True):
        assert bool(
            (all_at_once <= one * 1.0001 + 1e-9).all()
        )  # the square of a mean is below the mean of squares


@pytest.mark.parametrize("measure", ["batch", "sampled"])
def test_measuring_changes_nothing(measure):
    problem = fresh_problem()
    before, moved = state_of(problem.model), list(problem.model.parameters())
    passes = plain_batches(problem.forget, 24, PLAIN)
    if measure == "batch":
        found = batch_fisher(problem.model, moved, passes)
    else:
        found = sampled_fisher(problem.model, moved, passes, expected_losses, seeded(), 2)
    assert differing(before, problem.model) == []
    assert all(p.grad is None for p in moved)
    assert all(bool((f >= 0).all()) and f.shape == p.shape for f, p in zip(found, moved, strict=True))
