"""The search grid covers a method's published ranges with one budget for all."""

import pytest

from core.models import MODELS
from core.unlearn import METHODS
from orchestrator.plan.search_points import grid_points
from orchestrator.spec.overrides import with_overrides
from orchestrator.spec.specification import node_params
from tests.one_problem import digits

SEARCHED = [name for name, method in METHODS.items() if method.space("resnet18")]


@pytest.mark.parametrize("name", SEARCHED)
@pytest.mark.parametrize("trials", [1, 2, 5, 8])
def test_points_lie_in_the_published_range_and_differ(name, trials):
    space = METHODS[name].space("resnet18")
    points = grid_points(space, trials)
    assert len(points) == trials
    assert len({tuple(p.items()) for p in points}) == trials
    for point in points:
        assert all(space[k].low * 0.999 <= v <= space[k].high * 1.001 for k, v in point.items())


@pytest.mark.parametrize("name", SEARCHED)
@pytest.mark.parametrize("arch", MODELS)
def test_every_point_is_valid_and_its_parameters_are_those_of_the_method(name, arch):
    method = METHODS[name]
    defaults = node_params(method.params())
    for point in grid_points(method.space(arch), 20):
        assert node_params(method.params(**point)) == {**defaults, **point}


def test_the_first_range_is_cut_from_end_to_end():
    rates = [p["lr"] for p in grid_points(METHODS["ft"].space("resnet18"), 3)]
    assert rates == pytest.approx([1e-3, 1e-2, 1e-1])


def test_one_trial_sits_in_the_middle():
    assert grid_points(METHODS["ft"].space("resnet18"), 1) == ({"lr": 0.01},)


def test_q_mul_starts_a_decade_higher_on_mobilenetv2():
    assert grid_points(METHODS["qmul"].space("mobilenetv2"), 2) == ({"lr": 0.01}, {"lr": 0.1})


TENTHS = (1e-3, 1e-1)


@pytest.mark.parametrize(
    ("name", "ranges"),
    [
        ("ft", {"lr": TENTHS}),
        ("ga", {"lr": (1e-5, 1e-3)}),
        ("iu", {"alpha": (1, 20)}),
        ("rl", {"lr": TENTHS}),
        ("l1_sparse", {"lr": TENTHS, "alpha": (1e-6, 1e-4)}),
        ("salun", {"lr": (5e-4, 5e-2), "fraction": (0.1, 0.9)}),
        ("qmul", {"lr": TENTHS}),
        ("qmul_no_sl", {"lr": TENTHS}),
        ("qmul_no_agr", {"lr": TENTHS}),
    ],
)
def test_ranges_are_those_of_appendix_a(name, ranges):
    """Random and class-wise forgetting have the same: where Appendix A tells them apart, its ranges agree."""
    space = METHODS[name].space("resnet18")
    assert {parameter: (r.low, r.high) for parameter, r in space.items()} == ranges
    mobile = {"lr": (1e-2, 1e-1)} if name.startswith("qmul") else ranges
    found = METHODS[name].space("mobilenetv2")
    assert {parameter: (r.low, r.high) for parameter, r in found.items()} == mobile


def test_a_fixed_parameter_is_left_out():
    spec = with_overrides(digits().model_dump(), ["params.salun.lr=0.01", "methods=salun"])
    assert spec.space("salun", "resnet18").keys() == {"fraction"}
    assert digits().space("salun:fraction=0.3", "resnet18").keys() == {"lr"}


def test_nothing_to_search_is_one_trial():
    assert grid_points({}, 8) == ({},)
