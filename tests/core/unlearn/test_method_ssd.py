"""SSD (ALGORITHMS 8.1)."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings, strategies as st

from core.quant import QuantSpec, quantizer_faults, quantizer_parameters
from core.quant.export import flip_rate, weight_codes
from core.unlearn.ssd import SSDParams, dampen_, ssd
from tests.core.toy_problem import (
    class_problem,
    differing,
    loss_on,
    parameters_of,
    seeded,
    toy_model,
)

SHORT = {"batch_size": 24}


def dampened(theta, forget, reference, alpha=10.0, dampening=1.0):
    p = torch.tensor([theta])
    share = dampen_([p], [torch.tensor([forget])], [torch.tensor([reference])], alpha, dampening)
    return float(p), share


def test_a_selected_parameter_is_multiplied_by_the_ratio():
    """I_f = 2, I_D = 0.1, α = 10, λ = 1: β = 0.05."""
    assert dampened(3.0, 2.0, 0.1) == (pytest.approx(0.15), 1.0)
    assert dampened(3.0, 2.0, 0.1, dampening=4.0)[0] == pytest.approx(0.6)
    assert dampened(3.0, 2.0, 0.0) == (0.0, 1.0)


@pytest.mark.parametrize(("forget", "reference"), [(1.0, 0.1), (0.9, 0.1), (0.0, 0.0), (0.0, 5.0)])
def test_up_to_alpha_times_the_reference_nothing_is_touched(forget, reference):
    assert dampened(3.0, forget, reference) == (3.0, 0.0)


@settings(max_examples=100, deadline=None)
@given(
    st.floats(-10, 10, width=32),
    st.floats(0, 100, width=32),
    st.floats(0, 100, width=32),
    st.floats(0.0625, 100, width=32),
    st.floats(0, 8, width=32),
)
def test_no_parameter_ever_grows_or_changes_sign(theta, forget, reference, alpha, dampening):
    found, _ = dampened(theta, forget, reference, alpha, dampening)
    assert abs(found) <= abs(theta)
    assert found * theta >= 0


def test_a_limitless_threshold_is_the_identity(problem):
    found = ssd(problem, SSDParams(alpha=1e30, **SHORT), seeded())
    assert differing(found, problem.model) == []


def test_a_higher_threshold_selects_less():
    shares = []
    for alpha in (1.0, 10.0, 100.0):
        ssd(class_problem(), SSDParams(alpha=alpha, **SHORT), seeded(), lambda _e, told: shares.append(told))
    first, second, third = (told["dampened"] for told in shares)
    assert 1 > first > second > third > 0


@pytest.mark.parametrize("fisher", ["batch", "sample"])
def test_it_forgets_a_class_and_keeps_the_others(fisher):
    problem = class_problem()
    found = ssd(problem, SSDParams(fisher=fisher, **SHORT), seeded())
    assert loss_on(found, problem.forget) > loss_on(problem.model, problem.forget) + 0.5
    assert loss_on(found, problem.retain) < 0.2


def test_statistics_and_quantizers_stay(problem):
    found = ssd(problem, SSDParams(**SHORT), seeded())
    changed = set(differing(found, problem.model))
    assert changed
    assert not any("running" in name or "tracked" in name for name in changed)
    assert not changed & quantizer_parameters(problem.model)


def test_quantizers_move_if_they_are_to_and_stay_valid(problem):
    found = ssd(problem, SSDParams(alpha=1.0, dampening=0.0, move_quantizers=True, **SHORT), seeded())
    start, end = parameters_of(problem.model), parameters_of(found)
    moved = [name for name in quantizer_parameters(problem.model) if not torch.equal(start[name], end[name])]
    assert moved
    assert quantizer_faults(found) == {}


def test_on_all_data_no_ratio_is_above_theirs_to_the_forget_set(problem):
    """I_D ≥ I_f n_f/n where no batch mixes both: with 24 of 96 nothing is above 4 times I_D."""
    told = []
    for alpha in (3.9, 4.01, 10.0):
        params = SSDParams(alpha=alpha, reference="all", **SHORT)
        ssd(problem, params, seeded(), lambda _e, facts: told.append(facts["dampened"]))
    assert told[0] > 0
    assert told[1:] == [0, 0]


def test_dampening_survives_rounding(problem):
    """The codes of an integer network do change, and none moves away from 0."""
    problem = replace(problem, model=toy_model(quant=QuantSpec.parse("4w4a-lsq")))
    found = ssd(problem, SSDParams(alpha=1.0, dampening=0.1, **SHORT), seeded())
    before, after = weight_codes(problem.model), weight_codes(found)
    assert flip_rate(before, after) > 0
    assert all(bool((after[name].abs() <= before[name].abs()).all()) for name in before)
