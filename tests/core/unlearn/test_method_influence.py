"""IU (ALGORITHMS 4.3)."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from core.data.loader import Batch, plain_batches
from core.quant import QuantSpec, quantizer_faults, quantizer_parameters
from core.unlearn import METHODS
from core.unlearn.influence import (
    RELEASED_N,
    IUParams,
    dot,
    fisher_product,
    forget_direction,
    gradient_sum,
    influence,
    per_sample_products,
    rank_one_update,
    solve,
)
from tests.core import toy_problem
from tests.core.toy_problem import CLASSES, PLAIN, differing, parameters_of, seeded, toy_images


def linear_problem():
    """Its per-sample gradients are large next to N = 1000."""
    return toy_problem.linear_problem(8, 40, std=0.02)


def per_sample_gradients(model, moved, images):
    """One backward pass per image: N x P, flat."""
    rows = []
    for batch in plain_batches(images, 1, PLAIN):
        loss = F.cross_entropy(model(batch.images), batch.labels)
        grads = torch.autograd.grad(loss, moved, allow_unused=True)
        filled = [torch.zeros_like(p) if g is None else g for g, p in zip(grads, moved, strict=True)]
        rows.append(flat(filled))
    return torch.stack(rows)


def flat(vector):
    return torch.cat([t.detach().flatten() for t in vector])


def change(before, after):
    return flat(after.parameters()) - flat(before.parameters())


def like(moved, seed=0):
    g = seeded(seed)
    return [torch.randn(p.shape, generator=g) for p in moved]


def published_recursion(v_P, gradients_NP):
    """The released loop, on whole vectors: o is only ever rescaled."""
    k, o = v_P.clone(), gradients_NP[0].clone()
    for g in gradients_NP[1:]:
        t = torch.dot(o, g)
        k = k - torch.dot(k, g) / (RELEASED_N + t) * o
        o = o - t / (RELEASED_N + t) * o
    return k


# --- the direction


def test_the_direction_is_the_scaled_difference_of_mean_gradients():
    """v = (n_f/n)(mean gradient on D_f - mean gradient on D_r)."""
    problem = linear_problem()
    moved = list(problem.model.parameters())
    f, r = (per_sample_gradients(problem.model, moved, part) for part in (problem.forget, problem.retain))
    sums = [
        gradient_sum(problem.model, moved, plain_batches(part, 7, PLAIN))
        for part in (problem.forget, problem.retain)
    ]
    torch.testing.assert_close(flat(sums[0]), f.sum(0), rtol=1e-4, atol=1e-4)
    v = forget_direction(*sums, 8, 40)
    torch.testing.assert_close(flat(v), 8 / 48 * (f.mean(0) - r.mean(0)), rtol=1e-4, atol=1e-5)


def test_equal_mean_gradients_give_no_direction():
    g = torch.tensor([0.5, -0.25])
    assert forget_direction([4 * g], [16 * g], 4, 16)[0].tolist() == [0, 0]


@pytest.mark.parametrize("variant", ["woodfisher", "released"])
def test_equal_mean_gradients_leave_the_parameters_unchanged(problem, variant):
    """The forget set is the retain set: v is zero, so is the step."""
    same = replace(problem, retain=problem.forget)
    params = IUParams(variant=variant, alpha=20, move_quantizers=True)
    found = influence(same, params, seeded())
    for name, start in parameters_of(problem.model).items():
        torch.testing.assert_close(found.get_parameter(name).detach(), start, rtol=0, atol=1e-6)


@pytest.mark.parametrize("variant", ["woodfisher", "released"])
def test_the_step_raises_the_forget_loss_more_than_the_retain_loss(variant):
    problem = linear_problem()
    found = influence(problem, IUParams(alpha=0.5, variant=variant), seeded())

    def loss(model, images):
        with torch.no_grad():
            return float(F.cross_entropy(model(PLAIN.normalise(images.pixels)), images.labels))

    rise = [loss(found, part) - loss(problem.model, part) for part in (problem.forget, problem.retain)]
    assert rise[0] > 0
    assert rise[0] > rise[1]


def test_the_step_is_proportional_to_alpha(problem):
    start = parameters_of(problem.model)
    one, three = (
        parameters_of(influence(problem, IUParams(alpha=a, damping=1.0), seeded())) for a in (1.0, 3.0)
    )
    for name in start:
        torch.testing.assert_close(
            three[name] - start[name], 3 * (one[name] - start[name]), rtol=1e-2, atol=1e-5
        )


def test_alpha_zero_changes_nothing(problem):
    assert differing(influence(problem, IUParams(alpha=0), seeded()), problem.model) == []


def test_buffers_never_change(problem):
    found = influence(problem, IUParams(**METHODS["iu"].released), seeded())
    parameters = dict(problem.model.named_parameters())
    assert {name for name in differing(found, problem.model) if name not in parameters} == set()


@pytest.mark.parametrize("moves", [False, True])
def test_quantizers_move_only_when_asked(problem, moves):
    found = influence(problem, IUParams(move_quantizers=moves), seeded())
    changed = set(differing(parameters_of(found), parameters_of(problem.model)))
    assert bool(changed & quantizer_parameters(problem.model)) is moves
    assert "classifier.weight" in changed


def test_an_enormous_step_leaves_quantizers_valid(problem):
    found = influence(problem, IUParams(alpha=1e6, move_quantizers=True), seeded())
    assert quantizer_faults(found) == {}


# --- the system


def test_quadratic_loss_with_the_exact_hessian_gives_the_retrained_minimiser():
    """Oracle (iii): θ_o stationary on D, then θ_o + H_r⁻¹ v at α = 1 minimises on D_r alone."""
    g = seeded()
    X = torch.randn(60, 5, generator=g, dtype=torch.float64)
    y = torch.randn(60, generator=g, dtype=torch.float64)
    Xf, yf, Xr, yr = X[:15], y[:15], X[15:], y[15:]
    original, retrained = (torch.linalg.lstsq(a, b).solution for a, b in ((X, y), (Xr, yr)))
    sums = [[a.T @ (a @ original - b)] for a, b in ((Xf, yf), (Xr, yr))]
    v = forget_direction(*sums, 15, 45)
    hessian = Xr.T @ Xr / 45
    step = solve(lambda d: [hessian @ d[0]], v, damping=0.0, iterations=20, tolerance=1e-14)
    torch.testing.assert_close(original + step[0], retrained, rtol=0, atol=1e-12)
    assert float((original - retrained).abs().max()) > 1e-2


def test_conjugate_gradients_solve_a_damped_system_over_several_tensors():
    g = seeded(1)
    root = torch.randn(6, 6, generator=g, dtype=torch.float64)
    A, b = root @ root.T, torch.randn(6, generator=g, dtype=torch.float64)

    def product(d):
        image = A @ torch.cat([d[0].flatten(), d[1]])
        return [image[:4].view(2, 2), image[4:]]

    found = solve(product, [b[:4].view(2, 2), b[4:]], damping=0.5, iterations=50, tolerance=1e-12)
    expected = torch.linalg.solve(A + 0.5 * torch.eye(6, dtype=torch.float64), b)
    torch.testing.assert_close(flat(found), expected, rtol=1e-8, atol=1e-8)


def test_without_curvature_the_solution_is_v_over_the_damping():
    v = [torch.tensor([1.0, -2.0])]
    found = solve(lambda d: [torch.zeros_like(d[0])], v, damping=4.0, iterations=5, tolerance=1e-6)
    torch.testing.assert_close(found[0], v[0] / 4)


def test_iterations_bound_the_work_and_a_zero_right_side_needs_none():
    calls = []

    def product(d):
        calls.append(1)
        return [torch.arange(1.0, 9.0) * d[0]]

    solve(product, [torch.ones(8)], damping=0.1, iterations=3, tolerance=1e-9)
    assert len(calls) == 3
    assert solve(product, [torch.zeros(8)], 0.1, 3, 1e-9)[0].tolist() == [0.0] * 8
    assert len(calls) == 3


@pytest.mark.parametrize("batch_size", [1, 4, 6])
def test_fisher_product_is_the_mean_of_outer_products_of_per_sample_gradients(problem, batch_size):
    """On the quantized network: needs the quantizers' double backward."""
    model, images = problem.model, problem.retain.select(torch.arange(6))
    moved = list(model.parameters())
    gradients = per_sample_gradients(model, moved, images)
    direction = like(moved)
    expected = gradients.T @ (gradients @ flat(direction)) / 6
    found = fisher_product(model, moved, direction, plain_batches(images, batch_size, PLAIN))
    torch.testing.assert_close(flat(found), expected, rtol=1e-3, atol=1e-3 * float(expected.abs().max()))
    assert float(expected.abs().max()) > 0


@pytest.mark.parametrize("label", ["4w4a-lsq", "4w4a-pact", "4w4a-dsq", "4w4a-perchannel", "4w8a-released"])
def test_the_fisher_product_is_right_under_every_quantizer(label):
    """The derivative along a direction differentiates each quantizer's backward pass once more.

    Image by image, because a sum in another order can round into another code, and because the released
    quantizer's gradient depends on the batch size.
    """
    problem = toy_problem.untrained_problem(QuantSpec.parse(label))
    images, moved = problem.retain.select(torch.arange(5)), list(problem.model.parameters())
    with torch.no_grad():  # off the exact zeros of a ReLU, where torch's PReLU has two different slopes
        for name, p in problem.model.named_parameters():
            if name.endswith("bias"):
                p.add_(torch.randn(p.shape, generator=seeded(p.numel())), alpha=0.01)
    gradients = per_sample_gradients(problem.model, moved, images)
    direction = like(moved)
    expected = gradients.T @ (gradients @ flat(direction)) / 5
    found = fisher_product(problem.model, moved, direction, plain_batches(images, 1, PLAIN))
    torch.testing.assert_close(flat(found), expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max()))


def test_per_sample_products_come_in_order(problem):
    model, images = problem.model, problem.retain.select(torch.arange(6))
    moved = list(model.parameters())
    direction = like(moved)
    found = per_sample_products(model, moved, direction, plain_batches(images, 4, PLAIN))
    expected = per_sample_gradients(model, moved, images) @ flat(direction)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3 * float(expected.abs().max()))


def test_the_update_solves_the_damped_fisher_system():
    problem = linear_problem()
    params = IUParams(alpha=1.0, damping=0.7, iterations=200, tolerance=1e-7, fisher_samples=12)
    found = influence(problem, params, seeded())
    update = change(problem.model, found)
    moved = list(problem.model.parameters())
    f, r = (per_sample_gradients(problem.model, moved, part) for part in (problem.forget, problem.retain))
    v = 8 / 48 * (f.mean(0) - r.mean(0))
    fisher = r[:12].T @ r[:12] / 12  # of the first retain samples
    expected = torch.linalg.solve(fisher.double() + 0.7 * torch.eye(len(v)).double(), v.double())
    torch.testing.assert_close(update.double(), expected, rtol=1e-2, atol=1e-4)


# --- the published recursion


def double_case():
    """Exact arithmetic enough to see k - v: a float64 network and one fixed pass of 30 samples."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(192, 6), nn.ReLU(), nn.Linear(6, CLASSES)).double()
    for p in model.parameters():
        nn.init.normal_(p, std=0.1, generator=seeded(p.numel()))
    images = toy_images(30)
    x = PLAIN.normalise(images.pixels).double()
    parts = [Batch(x[i : i + 8], images.labels[i : i + 8], None) for i in range(0, 30, 8)]
    moved = list(model.parameters())
    rows = [
        flat(torch.autograd.grad(F.cross_entropy(model(x[i : i + 1]), images.labels[i : i + 1]), moved))
        for i in range(30)
    ]
    return model, moved, parts, torch.stack(rows)


def test_the_closed_form_is_the_published_recursion():
    model, moved, parts, gradients = double_case()
    v = [t.double() for t in like(moved, 3)]
    found = rank_one_update(model, moved, v, lambda: iter(parts))
    torch.testing.assert_close(flat(found), published_recursion(flat(v), gradients), rtol=1e-9, atol=1e-12)


def test_the_update_differs_from_v_along_the_first_gradient_only():
    """Oracle (ii): k - v is collinear with g_1."""
    model, moved, parts, gradients = double_case()
    v = [t.double() for t in like(moved, 3)]
    difference = flat(rank_one_update(model, moved, v, lambda: iter(parts))) - flat(v)
    cosine = torch.dot(difference, gradients[0]) / (difference.norm() * gradients[0].norm())
    assert abs(float(cosine)) == pytest.approx(1, abs=1e-9)
    assert float(difference.norm()) > 1e-6


def test_released_runs_the_recursion_over_the_retain_set_in_dataset_order():
    """The loaders are re-created unshuffled: g_1 belongs to the first retained image, and every g_j·g_1 is
    paired with the v·g_j of the same image. The transform here augments nothing."""
    problem = linear_problem()
    found = influence(problem, IUParams(**METHODS["iu"].released, alpha=1.0, batch_size=16), seeded())
    update = change(problem.model, found)
    moved = list(problem.model.parameters())
    f, r = (per_sample_gradients(problem.model, moved, part) for part in (problem.forget, problem.retain))
    expected = published_recursion(8 / 48 * (f.mean(0) - r.mean(0)), r)
    torch.testing.assert_close(update, expected, rtol=1e-2, atol=1e-3 * float(expected.abs().max()))


def test_every_pass_of_one_run_sees_the_same_augmented_images(problem):
    """One linear system (or recursion) is about one set of images, however often it is read."""
    seen = []

    class Recorder(nn.Module):
        def __init__(self, inner):
            super().__init__()
            self.inner = inner

        def forward(self, x):
            seen.append(x.detach().clone())
            return self.inner(x)

    recorded = replace(problem, model=Recorder(problem.model))
    influence(recorded, IUParams(augmented=True, iterations=2, tolerance=1e-12, batch_size=72), seeded())
    passes = seen[2:]  # after the gradients of the forget and the retain set: the Fisher products
    assert len(passes) == 2
    assert torch.equal(*passes)


def test_progress_tells_the_length_of_the_step(problem):
    told = []
    params = IUParams(alpha=2.0)
    found = influence(problem, params, seeded(), lambda epoch, facts: told.append((epoch, facts)))
    step = change(problem.model, found)
    assert [epoch for epoch, _ in told] == [0]
    assert told[0][1]["update_norm"] == pytest.approx(float(step.norm()), rel=1e-3)


def test_dot_is_the_inner_product_over_all_tensors():
    a, b = (
        [torch.tensor([1.0, 2.0]), torch.tensor([[3.0]])],
        [torch.tensor([4.0, 5.0]), torch.tensor([[6.0]])],
    )
    assert dot(a, b).item() == 32
