"""Class activation maps: against the closed form of a network that ends in a mean, and their bounds."""

import pytest
import torch
from torch import nn

from core.errors import BadInput
from core.metrics.grad_cam import activation_maps
from tests.core.toy_problem import PLAIN, fresh_problem, state_of, toy_images


class Mean(nn.Module):
    """One convolution, a mean over places, one linear layer."""

    def __init__(self):
        super().__init__()
        self.convolution = nn.Conv2d(3, 5, 3, padding=1)
        self.classifier = nn.Linear(5, 4)

    def forward(self, x):
        return self.classifier(self.convolution(x).mean((2, 3)))


def test_a_network_that_ends_in_a_mean_has_the_closed_form():
    """Zhou et al.: Σ_c w_kc A_c, here with ReLU and scaled to 1; the gradient is w_kc / (H W)."""
    torch.manual_seed(0)
    model, images = Mean(), toy_images(6)
    with torch.no_grad():
        features = model.convolution(PLAIN.normalise(images.pixels))
        weights = model.classifier.weight[images.labels]
    expected = torch.relu(torch.einsum("nc,nchw->nhw", weights, features))
    expected = expected / expected.amax((1, 2), keepdim=True)
    assert torch.allclose(activation_maps(model, images, PLAIN), expected, atol=1e-5)


def test_maps_are_of_the_images_size_between_0_and_1_and_the_model_is_left_alone():
    problem = fresh_problem()
    problem.model.train()
    before = state_of(problem.model)
    maps = activation_maps(problem.model, problem.forget, PLAIN)
    assert maps.shape == (24, 8, 8)
    assert float(maps.min()) >= 0
    assert float(maps.max()) == 1
    assert problem.model.training
    assert all(torch.equal(t, before[name]) for name, t in problem.model.state_dict().items())
    assert all(p.grad is None for p in problem.model.parameters())


def test_an_earlier_layer_can_be_asked_for_and_an_unknown_one_is_named():
    problem = fresh_problem()
    last = activation_maps(problem.model, problem.forget, PLAIN)
    assert not torch.equal(activation_maps(problem.model, problem.forget, PLAIN, "stem.0"), last)
    with pytest.raises(BadInput, match=r"no convolution 'stem.9'; the last one is 'stages\.3"):
        activation_maps(problem.model, problem.forget, PLAIN, "stem.9")


def test_a_network_without_convolutions_is_one_clear_line():
    model = nn.Sequential(nn.Flatten(), nn.Linear(192, 4))
    with pytest.raises(BadInput, match="has none"):
        activation_maps(model, toy_images(4), PLAIN)
