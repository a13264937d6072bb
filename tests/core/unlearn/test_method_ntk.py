"""NTK-F: exact where networks are linear, its products by J, and what its options leave out."""

import copy

import pytest
import torch
from torch.func import functional_call, jacrev

from core.data import plain_batches
from core.unlearn import METHODS
from core.unlearn.ntk import NTKParams, curvature_product, linear_update, minimum
from tests.core.toy_problem import PLAIN, differing, linear_problem, seeded, toy_images, toy_model

NTK = METHODS["ntk"]


def normal(*shape, seed=0):
    return torch.randn(shape, generator=seeded(seed), dtype=torch.float64)


def ridge(x, y, start, decay):
    """The minimum of ½ ‖x w - y‖² + decay / 2 ‖w - start‖²."""
    residual = x @ start - y
    return start - torch.linalg.solve(x.T @ x + decay * torch.eye(x.shape[1]), x.T @ residual)


def test_a_linear_model_is_retrained_exactly():
    x, y, start, decay = normal(30, 6), normal(30, seed=1), normal(6, seed=2), 0.3
    residual = x @ start - y
    update = linear_update(x[:8], x[8:], residual[:8], residual[8:], decay)
    found = ridge(x, y, start, decay) + update
    assert torch.allclose(found, ridge(x[8:], y[8:], start, decay), atol=1e-12)


def test_the_block_form_of_the_source_agrees():
    x, residual, decay = normal(12, 20), normal(12, seed=1), 0.3
    f, r = x[:4], x[4:]
    inner = torch.linalg.inv(r @ r.T + decay * torch.eye(8))
    across = f @ r.T
    middle = torch.linalg.inv(f @ f.T + decay * torch.eye(4) - across @ inner @ across.T)
    value = -residual[:4] + across @ inner @ residual[4:]
    apart = torch.eye(20) - r.T @ inner @ r
    expected = -apart @ f.T @ middle @ value
    assert torch.allclose(linear_update(f, r, residual[:4], residual[4:], decay), expected, atol=1e-10)


def test_nothing_to_forget_moves_nothing():
    x, residual = normal(12, 5), normal(12, seed=1)
    assert torch.allclose(
        linear_update(x[:0], x, residual[:0], residual, 0.1), torch.zeros(5, dtype=torch.float64)
    )


@pytest.mark.parametrize("curvature", ["gauss_newton", "identity"])
def test_products_are_those_of_the_whole_matrix(curvature):
    problem = linear_problem(4, 8, std=0.05)
    model, images = problem.model, problem.retain
    named = dict(model.named_parameters())
    moved, x = list(named.values()), PLAIN.normalise(images.pixels)
    found = jacrev(lambda values: functional_call(model, values, x))(
        {n: p.detach() for n, p in named.items()}
    )
    jacobian = torch.cat([found[name].flatten(2) for name in named], 2)  # N K P
    p = model(x).detach().softmax(1)
    h = (
        torch.diag_embed(p) - p[:, :, None] * p[:, None]
        if curvature == "gauss_newton"
        else torch.eye(4).expand(8, 4, 4)
    )
    whole = torch.einsum("nkp,nkl,nlq->pq", jacobian, h, jacobian) / 8
    direction = [torch.randn(each.shape, generator=seeded(1)) for each in moved]
    product = curvature_product(model, moved, direction, plain_batches(images, 3, PLAIN), curvature)
    flat = [torch.cat([t.flatten() for t in vector]) for vector in (product, direction)]
    assert torch.allclose(flat[0], whole @ flat[1], rtol=1e-4, atol=1e-4)


def test_the_minimum_solves_its_equation():
    problem = linear_problem(4, 24, std=0.05)
    moved = list(problem.model.parameters())
    params = NTKParams(iterations=200, tolerance=1e-7, damping=1.0)

    def passes():
        return plain_batches(problem.retain, 24, PLAIN)

    found = minimum(problem.model, moved, params, [(1.0, passes)])
    batch = next(passes())
    loss = torch.nn.functional.cross_entropy(problem.model(batch.images), batch.labels)
    grads = torch.autograd.grad(loss, moved)
    product = curvature_product(problem.model, moved, found, passes(), "gauss_newton")
    for p, g, a, d in zip(moved, grads, product, found, strict=True):
        left = g + params.decay * p.detach() + a + (params.decay + params.damping) * d
        assert float(left.norm()) < 1e-3 * max(float(g.norm()), 1e-3)


def test_the_scale_is_the_length_of_the_step_and_steps_of_quantizers_are_spared(problem):
    def moved(**options):
        found = NTK.run(problem, NTK.params(iterations=3, batch_size=24, **options), seeded(), None)
        return found, found.classifier.weight.detach() - problem.model.classifier.weight.detach()

    one, two = moved(scale=1.0), moved(scale=2.0)
    assert torch.allclose(two[1], 2 * one[1], rtol=1e-3, atol=1e-7)
    assert not any("quantizer" in name for name in differing(one[0], problem.model))
    assert any("quantizer" in name for name in differing(moved(move_quantizers=True)[0], problem.model))


def test_the_original_and_images_stay_what_they_are():
    model = toy_model()
    before = copy.deepcopy(model.state_dict())
    named = list(model.parameters())
    curvature_product(
        model, named, [torch.ones_like(p) for p in named], plain_batches(toy_images(8), 8, PLAIN), "identity"
    )
    assert differing(before, model) == []
