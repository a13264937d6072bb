"""An audit in the plan: shadows that all methods share, keys that others keep, and what has no audit."""

import pytest

from core.errors import BadInput
from orchestrator.plan.costs.estimate import CostModel
from orchestrator.plan.costs.paces import pace_of
from orchestrator.plan.costs.scaling import forecast
from orchestrator.plan.frontier import Frontier, State
from orchestrator.plan.grid_plan import make_plan
from tests.one_problem import digits


def audited(models: int, **fields):
    """A plan of three methods with an audit."""
    values = digits().model_dump(mode="json") | {"methods": ["retrain", "ft", "ga", "qmul"]}
    audit = {"models": models, **fields.pop("audit", {})}
    return make_plan(type(digits()).model_validate(values | {"audit": audit} | fields))


def kinds(plan, other) -> dict[str, int]:
    """How many nodes of each kind a plan has more than another."""
    more = {kind: count - other.counts().get(kind, 0) for kind, count in plan.counts().items()}
    return {kind: count for kind, count in more.items() if count}


def test_originals_and_retrains_are_trained_once_for_all_methods():
    plain, plan = audited(0), audited(8)
    assert plan.nodes.keys() >= plain.nodes.keys()
    assert kinds(plan, plain) == {"original": 7, "retrain": 7, "trial": 3 * 7, "audit": 4}
    assert {cell.method for cell in plan.audits} == {"original", "ft", "ga", "qmul"}
    assert plan.cells == plain.cells


def test_an_audit_by_more_models_takes_over_those_of_a_smaller_one():
    assert kinds(audited(10), audited(8)) == {"original": 2, "retrain": 2, "trial": 3 * 2}
    shadows = {key for key, node in audited(8).nodes.items() if node.kind != "audit"}
    assert shadows <= audited(10).nodes.keys()


def test_another_attack_needs_no_other_model():
    fewer, more = audited(8, audit={"attacks": ["klom"]}), audited(8, audit={"attacks": ["klom", "rmia"]})
    assert {fewer.nodes[key].kind for key in fewer.nodes.keys() - more.nodes.keys()} == {"audit"}


def test_a_shadow_waits_for_its_cells_selection_and_takes_its_hyper_parameters():
    plan = audited(6)
    for node in plan.nodes.values():
        if node.kind == "trial" and "shadow" in node.inputs:
            assert plan.nodes[node.parents[2]].kind == "select"
            assert plan.nodes[node.parents[1]].inputs["shadow"] == node.inputs["shadow"]


def test_only_the_audited_seeds_have_shadows():
    values = {"seeds": (1, 2, 3)}
    assert kinds(audited(6, **values), audited(0, **values))["retrain"] == 5
    both = audited(6, audit={"seeds": [2, 3]}, **values)
    assert {cell.seed for cell in both.audits} == {2, 3}


def test_a_method_with_a_part_in_training_has_shadow_originals_of_its_own():
    methods = {"methods": ["retrain", "ft", "amnesiac"]}
    assert kinds(audited(6, **methods), audited(0, **methods)) == {
        "original": 10, "retrain": 5, "trial": 10, "audit": 3,
    }  # fmt: skip


def test_a_class_is_left_out_with_the_reason():
    plan = audited(6, classes=(0,))
    assert len(plan.audits) == 4
    assert [line.partition(":")[0] for line in plan.omissions] == ["audit of class 0 left out"]
    assert "no attack has both to compare" in plan.omissions[0]


def test_a_list_of_images_is_audited_as_a_random_share_is():
    images = {"list": [{"path": "mine.txt", "name": "mine", "rows": {"digits": "0-29"}}]}
    listed, plain = (audited(models, ratios=[], forget=images) for models in (6, 0))
    assert kinds(listed, plain) == {"original": 5, "retrain": 5, "trial": 3 * 5, "audit": 4}
    shadows = [node for node in listed.nodes.values() if "shadow" in node.inputs]
    assert {node.inputs["listed"] for node in shadows} == {"0-29"}


@pytest.mark.parametrize("mode", ["grid", "halving"])
def test_plan_forecasts_shadows_behind_the_search_that_they_wait_for(mode):
    plan = audited(6, search={"mode": mode, "trials": 4}, original={"epochs": 20})
    cost = CostModel(pace_of("cpu"))
    facts = forecast(plan, cost, done=(), workers=(1, 4))
    assert facts["critical_path"][-1].startswith("audit ")
    shadows = [node for node in plan.nodes.values() if "shadow" in node.inputs]
    assert cost.total(shadows) > 0
    assert facts["hours_on"]["1"] > facts["hours_on"]["4"]


def test_an_audit_goes_on_without_a_shadow_that_failed_but_not_without_its_cell():
    plan = audited(6)
    key = next(iter(plan.audits.values()))
    parents = plan.nodes[key].parents
    waits = plan.nodes.keys() - {key}
    cost = dict.fromkeys(plan.nodes, 1.0)
    ready = Frontier(plan, cost, done=waits - {parents[-1]}, failed={parents[-1]})
    assert ready.state[key] is State.WAITING
    assert ready.next_task(10).key == key
    blocked = Frontier(plan, cost, done=waits - {parents[2]}, failed={parents[2]})
    assert blocked.state[key] is State.BLOCKED


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ({"models": 5}, "audit.models=5: every image is in for one model of a pair; set audit.models=6"),
        ({"models": 4}, "audit.models=4: u_lira needs at least 6; set audit.models=6"),
        ({"models": 6, "attacks": ["klomm"]}, "unknown attack 'klomm': did you mean 'klom'"),
        ({"attacks": ["klom"]}, "an audit needs models: set audit.models=16"),
        ({"models": 6, "seeds": [7]}, "audit.seeds: unknown seed of this grid '7'"),
    ],
)
def test_what_cannot_be_audited_is_told_in_a_line(fields, line):
    from orchestrator.spec.specification import parse_spec

    with pytest.raises(BadInput, match=line.replace("(", r"\(")):
        parse_spec(digits().model_dump(mode="json") | {"audit": fields})


def test_a_split_that_is_mismatched_has_no_audit():
    from orchestrator.spec.specification import parse_spec

    values = {"split": "mismatched", "select_on": "test", "audit": {"models": 6}}
    with pytest.raises(BadInput, match=r"split=mismatched contradicts audit\.models"):
        parse_spec(digits().model_dump(mode="json") | values)
