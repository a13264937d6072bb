"""ARCANE: who is in which block, what a one-class network can and cannot do, and that dropping a class is exact."""

import copy
from dataclasses import replace
from functools import cache

import pytest
import torch
from torch import nn

from core.data import concat
from core.errors import BadInput
from core.models import build, initialise_
from core.models.one_class import OneClass, train_shifts_
from core.quant import calibrate_, quantizers
from core.unlearn import METHODS
from core.unlearn.arcane import by_class
from core.unlearn.shards import SLICE
from tests.core.toy_problem import (
    PLAIN,
    W4A4,
    class_problem,
    differing,
    seeded,
    suited,
    toy_images,
    training_of,
)

ARCANE = METHODS["arcane"]


@cache
def original():
    return suited(class_problem(), ARCANE)


def run(problem):
    told = {}
    found = ARCANE.run(problem, ARCANE.params(), seeded(), lambda _epoch, facts: told.update(facts))
    return found, told


def table_of(**options):
    problem = class_problem()
    setting = ARCANE.hook.setting(ARCANE.params(**options))
    return by_class(training_of(problem, problem.model), setting), concat(problem.forget, problem.retain)


def test_each_class_is_cut_into_blocks():
    (label_N, block_N), images = table_of(blocks=4)
    assert torch.equal(label_N, images.labels)
    for label in range(4):
        assert torch.bincount(block_N[label_N == label]).tolist() == [6] * 4


def test_what_is_unusual_comes_last_and_a_share_is_selected_from_the_front():
    (label_N, block_N), images = table_of(ranking="outliers", kept_share=0.5, blocks=2)
    pixels = images.pixels[label_N == 0].float().flatten(1)
    far = (pixels - pixels.mean(0)).square().sum(1)
    blocks = block_N[label_N == 0]
    assert torch.bincount(blocks + 1).tolist() == [12, 6, 6]
    assert far[blocks == 0].max() <= far[blocks == 1].min()
    assert far[blocks == 1].max() <= far[blocks == -1].min()


def test_more_blocks_than_images_are_refused_in_one_line():
    with pytest.raises(BadInput, match="blocks=25, and class 0 has 24 images to learn") as caught:
        table_of(blocks=25)
    assert "\n" not in str(caught.value)


def test_a_network_of_one_class_has_no_bias_to_learn_and_a_centre_away_from_zero():
    network = OneClass(build("resnet18", 4, generator=seeded(), width=0.01, quant=W4A4), 4)
    calibrate_(initialise_(network, seeded()), PLAIN.normalise(toy_images(24).pixels))
    train_shifts_(network, trains=False)
    trained = [name for name, p in network.named_parameters() if p.requires_grad]
    assert not any(name.endswith(("bias", "offset")) for name in trained)
    assert len(list(quantizers(network))) > 0
    x = PLAIN.normalise(toy_images(24).pixels)
    before = copy.deepcopy(network.state_dict())
    network.centre_(x)
    assert differing(before, network) == ["centre"]
    assert float(network.centre.abs().min()) >= 0.1
    mean = copy.deepcopy(network.network).train()(x).mean(0)
    far = mean.abs() >= 0.1
    assert torch.allclose(network.centre[far], mean[far], atol=1e-5)


def test_the_distance_of_a_linear_map_is_the_trace_of_the_projected_covariance():
    x = torch.randn(200, 5, generator=seeded())
    network = OneClass(nn.Linear(5, 3), 3)
    network.centre.copy_(network.network(x).detach().mean(0))
    weight, centred = network.network.weight.detach(), x - x.mean(0)
    covariance = centred.T @ centred / len(x)
    expected = torch.trace(weight @ covariance @ weight.T)
    assert float(network(x).detach().mean()) == pytest.approx(float(expected), rel=1e-4)


def test_an_image_is_of_the_class_that_maps_it_nearest_in_its_own_unit():
    problem = original()
    x = PLAIN.normalise(problem.retain.pixels[:6])
    distances = torch.cat([network(x) / network.scale for network in problem.model.networks], 1)
    assert torch.equal(problem.model(x).argmax(1), distances.argmin(1))
    assert torch.allclose(problem.model(x).exp().sum(1), torch.ones(6))


def test_a_class_is_forgotten_by_dropping_its_network_and_nothing_else():
    problem = original()
    found, told = run(problem)
    changed = differing(found, problem.model)
    assert all(name == "voting" or name.startswith("networks.0.") for name in changed)
    assert found.voting.tolist() == [False, True, True, True]
    assert not any(p.any() for name, p in found.networks[0].named_parameters() if "quantizer" not in name)
    assert not (found(PLAIN.normalise(problem.forget.pixels)).argmax(1) == 0).any()
    assert (told["affected_shards"], told["networks"], told["retrained_share"]) == (1, 4, 0)


def test_a_single_image_touches_its_own_class_from_its_block_on():
    problem = original()
    images, labels = concat(problem.forget, problem.retain), concat(problem.forget, problem.retain).labels
    second = ((labels == 2) & (problem.kept[SLICE] == 1)).nonzero()[:2, 0]
    left = torch.arange(96)[~torch.isin(torch.arange(96), second)]
    parts = {"forget": images.select(second), "retain": images.select(left)}
    asked = replace(problem, **parts, positions=(second, left), augment=PLAIN)
    found, told = run(asked)
    changed = differing(found, problem.model)
    assert changed
    assert all(name.startswith("networks.2.") for name in changed)
    assert (told["affected_shards"], told["first_slice"]) == (1, 1)
