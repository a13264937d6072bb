"""A grid as a tree: the numbers of every level add up, and what is printed stays short."""

import io
import json

import pytest
from rich.console import Console

from orchestrator import grid
from orchestrator.cli.estimate import cost_model, plan_facts, print_plan
from orchestrator.cli.plan_tree import Branch, make_tree
from orchestrator.plan.grid_plan import make_plan
from orchestrator.spec.recipes import RECIPES
from tasks.store.store import Store
from tests.orchestrator.fake_results import Fake, small_spec


def tree_of(spec, tmp_path, fill=False) -> Branch:
    store, plan = Store(str(tmp_path / "s")), make_plan(spec)
    if fill:
        Fake(store, spec, plan).fill()
    finished = store.finished()
    return make_tree(spec, plan, cost_model(spec, plan, store, finished), finished)


def below(branch: Branch):
    yield branch
    for child in branch.children.values():
        yield from below(child)


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_every_recipe_adds_up_on_every_level(name, tmp_path):
    spec = RECIPES[name]()
    tree, plan = tree_of(spec, tmp_path), make_plan(spec)
    assert (tree.cells, tree.nodes) == (len(plan.cells), len(plan.nodes))
    assert [len(list(tree.level(1))), tree.done] == [len(spec.datasets), 0]
    for branch in below(tree):
        if branch.children:
            parts = branch.children.values()
            assert branch.cells == sum(part.cells for part in parts)
            assert branch.nodes >= sum(part.nodes for part in parts)  # an original belongs to its network
            assert branch.seconds >= sum(part.seconds for part in parts) - 1e-6


@pytest.mark.parametrize(
    ("limit", "said"), [(None, "all images"), (50, "at most 50 training, at most 50 test images")]
)
def test_a_folder_of_images_is_as_large_as_it_turns_out_to_be(limit, said, tmp_path):
    spec = small_spec(datasets=("folder:flowers",), data={"limit": limit})
    assert f"flowers ({said})" in [branch.name for branch in tree_of(spec, tmp_path).level(1)]


def test_originals_that_methods_took_part_in_are_part_of_the_problem(tmp_path):
    spec = small_spec(methods=("retrain", "mnemonic", "amnesiac"), ratios=(), classes=(3,))
    (problem,) = tree_of(spec, tmp_path).level(3)
    assert [child.name for child in problem.children.values()] == ["Retrain", "Mnemonic", "Amnesiac"]


def test_a_finished_grid_has_nothing_to_do(tmp_path):
    tree = tree_of(small_spec(), tmp_path, fill=True)
    for branch in below(tree):
        assert (branch.done, branch.cells_done, branch.seconds) == (branch.nodes, branch.cells, 0)


def test_a_search_that_is_to_come_counts_its_trials(tmp_path):
    spec = small_spec(search={"mode": "halving", "trials": 8})
    tree = tree_of(spec, tmp_path)
    facts = plan_facts(spec, make_plan(spec), Store(str(tmp_path / "s")))
    assert tree.nodes == sum(facts["nodes"].values())


def test_variants_stand_behind_their_method(tmp_path):
    spec = small_spec(methods=("qmul:order=sequential", "qmul", "retrain"))
    (problem,) = tree_of(spec, tmp_path).level(3)
    assert [child.name for child in problem.children.values()] == [
        "Retrain",
        "Q-MUL",
        "Q-MUL (order sequential)",
    ]


def printed(name, tmp_path, width, **options):
    spec = RECIPES[name]()
    console = Console(width=width, file=io.StringIO(), **options)
    print_plan(spec, plan_facts(spec, make_plan(spec), Store(str(tmp_path / "s"))), console)
    return console.file.getvalue()


@pytest.mark.parametrize(("name", "most"), [("full", 45), ("digits", 45), ("table1", 45)])
@pytest.mark.parametrize("width", [80, 120])
def test_the_plan_is_short_and_never_wider_than_the_terminal(name, most, width, tmp_path):
    lines = printed(name, tmp_path, width).splitlines()
    assert len(lines) <= most
    long = [line for line in lines if len(line) > width]
    assert [line.split()[0] for line in long] in ([], ["store"])  # a path is never broken
    assert "\x1b" not in "".join(lines)


def test_the_forget_sets_of_a_large_grid_share_a_line(tmp_path):
    text = printed("full", tmp_path, 120)
    assert text.count("random 10 %") == 8
    assert "random 10 %" in next(line for line in text.splitlines() if "random 50 %" in line)
    assert "methods" in text


def test_colours_are_left_out_where_they_are_not_wanted(tmp_path, monkeypatch):
    assert "\x1b[" in printed("digits", tmp_path, 80, force_terminal=True)
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[3" not in printed("digits", tmp_path, 80, force_terminal=True)


def test_json_has_the_numbers_of_the_tree(capsys, tmp_path):
    assert grid.main(["plan", "--recipe", "digits", "--store", str(tmp_path), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    tree = facts["tree"]
    assert (tree["cells"], tree["nodes"]) == (facts["cells"], sum(facts["nodes"].values()))
    (dataset,) = tree["parts"]
    (network,) = dataset["parts"]
    problem, whole = network["parts"]
    assert (problem["name"], whole["name"]) == ("random 30 %", "class 0")
    assert [part["name"] for part in problem["parts"]][:2] == ["Retrain", "FT"]
    assert sum(part["hours"] for part in problem["parts"]) == pytest.approx(problem["hours"], abs=0.001)
