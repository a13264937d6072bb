"""The plan: the right nodes, shared where they can be, with the same keys everywhere."""

import subprocess
import sys

import pytest
from hypothesis import given, settings, strategies as st

from core.unlearn import METHODS
from orchestrator.plan.grid_plan import make_plan
from orchestrator.spec.recipes import RECIPES, full
from tasks.node import REVISIONS, canonical, make_node
from tests.one_problem import digits

CLASS_WISE = {name for name, method in METHODS.items() if "random" not in method.scenarios}
HOOKED = {name for name, method in METHODS.items() if method.hook}


def changed(spec, **fields):
    return type(spec).model_validate(spec.model_dump(mode="json") | fields)


@pytest.mark.parametrize(
    ("name", "cells", "originals", "retrains"),
    [
        ("table1", 2 * 3 * 8, 2, 6),
        ("table2", 4, 1, 1),
        ("table3", 2 * 5, 2, 2),
        ("table4", 8, 1, 1),
        ("table5", 8, 1, 1),
        ("table6", 8, 1, 1),
        ("table7", 3 * 8, 1, 3),
        ("table8", 3 * 8, 1, 3),
        ("table9", 3 * 8, 1, 3),
        ("figure1", 2 * 3, 2, 2),
        ("figure3", 8, 1, 1),
        ("figure4", 8, 1, 1),
        ("full", 192, 8, 24),
        ("fidelity", 3 * 35, 3, 3),
        ("audit_small", 6, 16, 16),
        # each method with a hook has an original of its own
        ("cross_table", 2 * len(METHODS.keys() - CLASS_WISE), 2 * (1 + len(HOOKED - CLASS_WISE)), 2),
        ("cross_table_class", 2 * len(METHODS), 2 * (1 + len(HOOKED)), 2),
        ("mnemonic_table", 2 * 2 * 8 * 3, 2 * 2 * 4 * 3, 2 * 2 * 3),
        ("amnesiac_figure", 3 * 2 * 16, 3 * 2 * 10, 3 * 2),
        ("rfa_table", 2 * 2 * 7 * 3, 2 * 2 * 3, 2 * 2 * 3),
    ],
)
def test_a_recipe_is_as_many_cells_as_its_table_has_rows(name, cells, originals, retrains):
    plan = make_plan(RECIPES[name]())
    counts = plan.counts()
    assert (len(plan.cells), counts["original"], counts["retrain"]) == (cells, originals, retrains)


def test_table1_shares_its_models_with_the_whole_paper():
    assert make_plan(RECIPES["table1"]()).nodes.keys() <= make_plan(full()).nodes.keys()


def test_every_recipe_of_the_paper_needs_a_gpu_and_only_figure1_probes():
    of_the_paper = {name: make() for name, make in RECIPES.items() if name.startswith(("table", "figure"))}
    assert all(spec.needs_gpu and spec.recipe == name for name, spec in of_the_paper.items())
    assert [name for name, spec in of_the_paper.items() if spec.probe] == ["figure1"]


@pytest.mark.parametrize(
    ("name", "left_out"),
    [("cross_table", CLASS_WISE), ("cross_table_class", set())],
)
def test_the_cross_tables_have_every_method_that_applies(name, left_out):
    plan = make_plan(RECIPES[name]())
    assert {cell.method for cell in plan.left_out} == left_out
    assert {cell.method for cell in plan.cells} == METHODS.keys() - left_out
    assert {cell.quant for cell in plan.cells} == {"fp", "4w4a"}
    assert len(plan.omissions) == bool(left_out)
    assert not RECIPES[name]().needs_gpu


def test_the_whole_paper_is_192_cells_on_8_originals_and_24_retrains():
    plan = make_plan(full())
    counts = plan.counts()
    assert len(plan.cells) == 192
    assert (counts["data"], counts["original"], counts["retrain"], counts["select"]) == (4, 8, 24, 168)
    assert counts["trial"] == 168 * 8


@pytest.mark.parametrize("name", RECIPES)
def test_every_method_that_searches_has_the_same_number_of_trials(name):
    spec = RECIPES[name]()
    plan = make_plan(spec)
    for cell, key in plan.cells.items():
        if cell.method != "retrain":
            space = spec.space(cell.method, cell.arch)
            assert plan.spaces[cell.method, cell.arch] == space
            assert len(plan.nodes[key].parents) - 1 == (spec.search.trials if space else 1)


@pytest.mark.parametrize("name", RECIPES)
def test_parents_come_before_children(name):
    seen = set()
    for node in make_plan(RECIPES[name]()).nodes.values():
        assert seen.issuperset(node.parents)
        seen.add(node.key)


def test_keys_are_the_same_in_another_process():
    code = "from orchestrator.plan.grid_plan import make_plan; from tests.one_problem import digits;"
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
        ("select_on", "validation"),
        ("split", "one"),
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


def keys(plan, *kinds, **inputs):
    """Keys of the nodes of some kinds that have some inputs."""
    chosen = (n for n in plan.nodes.values() if n.kind in kinds)
    return {n.key for n in chosen if all(n.inputs.get(name) == value for name, value in inputs.items())}


def test_a_mismatched_split_changes_the_originals_pool_and_nothing_but_what_reads_it():
    one = make_plan(changed(digits(), select_on="test"))
    two = make_plan(changed(digits(), select_on="test", split="mismatched"))
    (original,) = (n for n in two.nodes.values() if n.kind == "original")
    assert (original.inputs["seed"], original.inputs["split_seed"]) == (1, 2)
    assert keys(one, "original").isdisjoint(keys(two, "original"))
    assert keys(one, "trial").isdisjoint(keys(two, "trial"))
    assert keys(one, "data", "retrain") == keys(two, "data", "retrain")
    assert not any("split_seed" in n.inputs for n in one.nodes.values())


def test_the_last_seed_has_a_neighbour():
    spec = changed(digits(), select_on="test", split="mismatched", seeds=(2**32 - 1,))
    (original,) = (n for n in make_plan(spec).nodes.values() if n.kind == "original")
    assert original.inputs["split_seed"] == 0


def test_a_probe_changes_trials_alone():
    plain, probed = make_plan(digits()), make_plan(changed(digits(), probe=64))
    same = ("data", "original", "retrain")
    assert keys(plain, *same) == keys(probed, *same)
    assert keys(plain, "trial", method="rl").isdisjoint(keys(probed, "trial", method="rl"))
    assert keys(plain, "trial", method="iu") == keys(probed, "trial", method="iu")


def test_a_variant_is_a_cell_of_its_own_whose_trials_carry_the_plain_name():
    label = "rl:order=sequential"
    plan = make_plan(changed(digits(), methods=["retrain", "rl", label]))
    assert [cell.method for cell in plan.cells] == ["retrain", "rl", label]
    (select,) = (plan.nodes[key] for cell, key in plan.cells.items() if cell.method == label)
    assert select.inputs["method"] == label
    for evaluation in (plan.nodes[key] for key in select.parents[1:]):
        trial = plan.nodes[evaluation.parents[0]]
        assert (evaluation.inputs["method"], trial.inputs["method"]) == (label, "rl")
        assert trial.inputs["params"]["order"] == "sequential"
        assert f" {label} lr " in trial.words


def test_variants_with_equal_parameters_share_their_trials():
    alone = make_plan(changed(digits(), methods=["rl"]))
    both = make_plan(changed(digits(), methods=["rl", "rl:order=joint"]))
    assert keys(alone, "trial") == keys(both, "trial")
    assert len(keys(both, "select")) == 2 * len(keys(alone, "select"))
    assert alone.nodes.keys() <= both.nodes.keys()


def test_spelling_a_variant_differently_changes_no_key():
    spellings = ("qmul:order=sequential:norm=dataset", "qmul:norm=dataset:order=sequential")
    one, other = (make_plan(changed(digits(), methods=[label])) for label in spellings)
    assert one.nodes.keys() == other.nodes.keys()


def test_what_a_variant_fixes_is_not_searched():
    plan = make_plan(changed(digits(), methods=["salun:fraction=0.3", "ft:lr=0.02"]))
    tried = {n.inputs["tried"] for n in plan.nodes.values() if n.kind == "trial"}
    assert tried == {"lr 0.0005", "lr 0.005", "lr 0.05", ""}
    fractions = {n.inputs["params"].get("fraction") for n in plan.nodes.values() if n.kind == "trial"}
    assert fractions == {0.3, None}


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


def test_both_scenarios_of_a_grid_have_the_nodes_that_each_has_alone():
    both = make_plan(changed(digits(), classes=[3]))
    share, whole = make_plan(digits()), make_plan(changed(digits(), ratios=[], classes=[3]))
    assert both.nodes.keys() == share.nodes.keys() | whole.nodes.keys()
    assert both.cells == share.cells | whole.cells
    assert [cell.scenario for cell in both.cells] == ["random"] * 8 + ["class"] * 8


def test_the_first_recipe_has_noise_to_compare_with_and_both_scenarios():
    recipe = RECIPES["digits"]()
    assert len(recipe.seeds) == 3
    assert {cell.scenario for cell in make_plan(recipe).cells} == {"random", "class"}
