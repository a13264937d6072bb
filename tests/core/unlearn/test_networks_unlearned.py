"""Every method on every network: what a method knows of layers must hold for networks without any of a kind."""

import copy

import pytest
import torch

from core.errors import BadInput
from core.models import MODELS
from core.quant import quantizer_faults
from core.unlearn import METHODS, Problem
from tests.core.toy_problem import (
    AUGMENTING,
    CLASSES,
    SHORT,
    differing,
    seeded,
    state_of,
    suited,
    toy_images,
    toy_model,
)

SHORTER = SHORT | {"epochs": 1, "batch_size": 16, "fisher_samples": 8, "iterations": 2, "lr": 0.01}


# no convolution, no normalisation; the matrix of methods has both, and the rest of this one takes minutes
QUICK = ("mlp", "lenet")
REFUSED = {("msg", "mlp"), ("ct", "mlp")}  # both are about convolutions
ARCHS = [pytest.param(arch, marks=() if arch in QUICK else pytest.mark.slow) for arch in MODELS]


@pytest.mark.parametrize("arch", ARCHS)
@pytest.mark.parametrize("method", METHODS.values(), ids=lambda m: m.name)
def test_a_method_changes_a_copy_of_any_network_and_leaves_it_healthy(method, arch):
    model, images = toy_model(arch), toy_images(48)
    parts = images.select(torch.arange(16)), images.select(torch.arange(16, 48))
    params = method.params(**{k: v for k, v in SHORTER.items() if k in method.params.model_fields})
    problem = suited(Problem(model, *parts, CLASSES, AUGMENTING, torch.device("cpu")), method)
    before = state_of(problem.model)  # of the network that the method's hook built, where it builds one
    if (method.name, arch) in REFUSED:
        with pytest.raises(BadInput, match="take another network"):
            method.run(problem, params, seeded())
        return
    unlearned = method.run(problem, params, seeded())
    assert differing(before, problem.model) == []
    assert differing(before, unlearned)
    assert quantizer_faults(unlearned) == {}
    assert all(p.isfinite().all() for p in unlearned.parameters())
    assert differing(copy.deepcopy(unlearned), unlearned) == []
