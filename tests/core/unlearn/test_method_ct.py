"""CT's transposition: which kernels, and that it is exact on every integer grid."""

import pytest
import torch
from torch import nn

from core.errors import BadInput
from core.quant import QUANTIZERS, QuantSpec, flip_rate, weight_codes
from core.unlearn import METHODS
from core.unlearn.ct import transpose_kernels_
from tests.core.toy_problem import differing, linear_problem, seeded, state_of, toy_model

LABELS = ["2w", "4w4a-perchannel", "4w8a-released"]


def labels():
    """A setting for every quantizer that takes four bits of weights, and three more."""
    return [QuantSpec(weight_bits=4, activation_bits=4, quantizer=name).label for name in QUANTIZERS] + LABELS


@pytest.mark.parametrize("label", labels())
def test_codes_change_places_and_steps_stay(label):
    model = toy_model(quant=QuantSpec.parse(label))
    codes, before = weight_codes(model), state_of(model)
    transpose_kernels_(model)
    after = weight_codes(model)
    for name, found in codes.items():
        assert torch.equal(after[name], found.transpose(2, 3) if found.dim() == 4 else found)
    changed = differing(before, model)
    assert changed
    assert all(name.endswith("weight") for name in changed)  # no step, offset or running statistic
    assert 0 < flip_rate(codes, after) < 1


def test_twice_is_where_it_began():
    model = toy_model()
    before = state_of(model)
    transpose_kernels_(model)
    transpose_kernels_(model)
    assert differing(before, model) == []


def test_kernels_of_one_pixel_and_those_that_are_not_square_stay():
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, (3, 1)), nn.Conv2d(4, 4, 3))
    before = state_of(model)
    assert transpose_kernels_(model) == 1
    assert differing(before, model) == ["2.weight"]


def test_nothing_to_transpose_is_refused():
    problem = linear_problem(4, 8)
    problem.model.insert(0, nn.Conv2d(3, 3, 1))
    with pytest.raises(BadInput, match="square kernels of more than one pixel, and this network has none"):
        METHODS["ct"].run(problem, METHODS["ct"].params(), seeded(), None)
