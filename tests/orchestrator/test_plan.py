"""The plan: the right nodes, shared where they can be, with the same keys everywhere."""

import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.plan import make_plan
from orchestrator.recipes import RECIPES, digits, full
from tasks.node import REVISIONS, canonical, make_node


def changed(spec, **fields):
    return type(spec).model_validate(spec.model_dump(mode="json") | fields)


def test_the_whole_paper_is_192_cells_on_8_originals_and_24_retrains():
    plan = make_plan(full())
    counts = plan.counts()
    assert len(plan.cells) == 192
    assert (counts["data"], counts["original"], counts["retrain"], counts["select"]) == (4, 8, 24, 168)
    assert counts["trial"] == 168 * 8


@pytest.mark.parametrize("name", RECIPES)
def test_every_method_has_the_same_number_of_trials(name):
    plan = make_plan(RECIPES[name]())
    trials = {len(n.parents) - 1 for n in plan.nodes.values() if n.kind == "select"}
    assert trials == {RECIPES[name]().search.trials}


@pytest.mark.parametrize("name", RECIPES)
def test_parents_come_before_children(name):
    seen = set()
    for node in make_plan(RECIPES[name]()).nodes.values():
        assert seen.issuperset(node.parents)
        seen.add(node.key)


def test_keys_are_the_same_in_another_process():
    code = "from orchestrator.plan import make_plan; from orchestrator.recipes import digits;"
    code += "print(*make_plan(digits()).nodes)"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert other.stdout.split() == list(make_plan(digits()).nodes)


def test_keys_are_golden():
    """A key that changes by accident would recompute every store; raise a revision instead of this value."""
    node = make_node("data", (), {"dataset": "digits", "limit": None})
    assert node.key == "3e2885b2d6992fc9f27f04dd882359e10d12fac3c12f445ea46ff9b0428ab4f4"


def test_a_longer_search_keeps_the_originals_and_retrains():
    short, long = make_plan(digits()), make_plan(changed(digits(), search={"trials": 5}))
    shared = {n.kind for key, n in long.nodes.items() if key in short.nodes}
    assert {"data", "original", "retrain"} <= shared
    assert sum(n.kind in ("original", "retrain") for k, n in long.nodes.items() if k not in short.nodes) == 0


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("seeds", (2,)),
        ("validation", 0.2),
        ("widths", {"resnet18": 0.25}),
        ("quantizers", ("fp",)),
        ("original", {"epochs": 3}),
        ("data", {"limit": 500}),
        ("data", {"augment": False}),
    ],
)
def test_what_changes_an_original_changes_its_key(field, value):
    def originals(spec):
        return {k for k, n in make_plan(spec).nodes.items() if n.kind == "original"}

    assert originals(digits()).isdisjoint(originals(changed(digits(), **{field: value})))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("keep", "all"),
        ("tracking", {"enabled": False}),
        ("resources", {"slots": 1}),
        ("data", {"root": "/x"}),
    ],
)
def test_what_changes_no_result_changes_no_key(field, value):
    assert make_plan(changed(digits(), **{field: value})).nodes.keys() == make_plan(digits()).nodes.keys()


def test_selecting_on_test_figures_shares_all_trials():
    here, there = make_plan(digits()), make_plan(changed(digits(), select_on="test"))
    new = {n.kind for key, n in there.nodes.items() if key not in here.nodes}
    assert new == {"select"}


def test_a_fixed_learning_rate_is_not_searched():
    plan = make_plan(changed(digits(), params={"ft": {"lr": 0.02}}))
    rates = {
        n.inputs["params"]["lr"]
        for n in plan.nodes.values()
        if n.inputs.get("method") == "ft" and n.kind == "trial"
    }
    assert rates == {0.02}


def test_revisions_are_part_of_keys(monkeypatch):
    before = make_node("trial", ("a",), {"x": 1}).key
    monkeypatch.setitem(REVISIONS, "trial", REVISIONS["trial"] + 1)
    assert make_node("trial", ("a",), {"x": 1}).key != before


_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 5)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=100, deadline=None)
@given(
    st.dictionaries(st.text(max_size=3), _json, max_size=3),
    st.dictionaries(st.text(max_size=3), _json, max_size=3),
)
def test_keys_differ_exactly_when_inputs_do(a, b):
    assert (make_node("trial", (), a).key == make_node("trial", (), b).key) == (canonical(a) == canonical(b))
