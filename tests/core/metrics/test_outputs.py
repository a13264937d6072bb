"""Outputs on a sample, and distances between two models' (ALGORITHMS 9.5)."""

import math

import pytest
import torch

from core.errors import BadInput
from core.metrics.outputs import SAMPLE, pack, sampled, unpack
from core.metrics.predictions import probabilities
from core.metrics.registry import METRICS, measure
from tests.core.toy_problem import PLAIN, fresh_problem, toy_images, toy_model


def test_outputs_are_of_a_thousand_images_spread_over_all():
    model, images = toy_model(), toy_images(4).select(torch.arange(SAMPLE + 500) % 4)
    found = sampled(model, {"forget": images}, PLAIN)["forget"]
    assert torch.equal(found, probabilities(model, images.evenly(SAMPLE), PLAIN).half())


def test_outputs_are_the_models_probabilities_at_half_precision():
    model, images = toy_model(), toy_images(40)
    model.train()
    found = sampled(model, {"forget": images}, PLAIN)["forget"]
    assert model.training
    assert torch.equal(found, probabilities(model, images, PLAIN).half())
    assert torch.allclose(found.float().sum(1), torch.ones(40), atol=2e-3)


def test_a_model_is_no_distance_from_itself():
    problem = fresh_problem()
    one = sampled(problem.model, {"forget": problem.forget, "test": problem.retain}, PLAIN)
    found = measure("outputs", one, one)
    assert {name for name, value in found.items() if value == 0} == {
        "activation_forget", "activation_test", "js_forget", "js_test",
    }  # fmt: skip
    assert found["activation_retain"] is None  # of which there are no outputs


def test_opposite_certainties_are_as_far_apart_as_can_be():
    one, other = torch.eye(3)[:2].half(), torch.eye(3)[1:].half()
    given = {"retain": one}, {"retain": other}
    assert METRICS["activation_retain"].function(*given) == pytest.approx(math.sqrt(2))
    assert METRICS["js_retain"].function(*given) == pytest.approx(math.log(2), abs=1e-4)


def test_packed_outputs_come_back_and_damage_is_bad_input():
    outputs = {"forget": torch.rand(4, 3).half()}
    assert torch.equal(unpack(pack(outputs))["forget"], outputs["forget"])
    with pytest.raises(BadInput, match="not an outputs file"):
        unpack(b"nothing of the kind")
