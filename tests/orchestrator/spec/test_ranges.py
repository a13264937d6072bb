"""`search.ranges` sets what is searched, in every mode; what cannot be meant is refused in a line that names it."""

import dataclasses

import pytest

from core.errors import BadInput
from core.unlearn import Choice, Range
from orchestrator.plan.grid_plan import make_plan
from orchestrator.plan.search_points import grid_points, point_of, space_from, space_json, tried_text
from orchestrator.plan.trial_nodes import Search
from orchestrator.report.trials import ends, evaluated_trials
from orchestrator.results.entries import collect
from orchestrator.spec.overrides import with_overrides
from tasks.store.store import Store
from tests.one_problem import digits
from tests.orchestrator.fake_results import Fake, small_spec


def spec(*overrides):
    return with_overrides(digits().model_dump(mode="json"), list(overrides))


def tried(grid, method):
    """What the trials of a method tried, in the plan's order."""
    nodes = make_plan(grid).nodes.values()
    return [
        node.inputs["tried"] for node in nodes if node.kind == "trial" and node.inputs["method"] == method
    ]


@pytest.mark.parametrize(
    ("setting", "method", "found"),
    [
        ("qmul.lr=[0.05,0.5]", "qmul", ["lr 0.05", "lr 0.1581", "lr 0.5"]),
        ("qmul.lr=0.05,0.5", "qmul", ["lr 0.05", "lr 0.1581", "lr 0.5"]),
        ('qmul.lr={"low":0.1,"high":0.3,"log":false}', "qmul", ["lr 0.1", "lr 0.2", "lr 0.3"]),
        ("ft.batch_size=[16,64]", "ft", ["lr 0.001 batch_size 46", "lr 0.01 batch_size 27", "lr 0.1 batch_size 57"]),
        ("ga.lr=[0.1,0.2,0.4]", "ga", ["lr 0.1", "lr 0.2", "lr 0.4"]),
        ('ga.lr={"values":[0.1,0.4]}', "ga", ["lr 0.1", "lr 0.4"]),
        ("rl.order=sequential,joint", "rl", ["lr 0.001 order joint", "lr 0.01 order sequential", "lr 0.1 order joint"]),
    ],
)  # fmt: skip
def test_what_is_tried(setting, method, found):
    assert tried(spec("params.all={}", f"search.ranges.{setting}"), method) == found


def test_only_the_method_that_was_named_has_other_trials():
    plain, wider = make_plan(spec()), make_plan(spec("search.ranges.qmul.lr=[0.05,0.5]"))
    new = [node for key, node in wider.nodes.items() if key not in plain.nodes]
    assert {node.inputs["method"] for node in new} == {"qmul"}
    assert wider.spaces["ft", "resnet18"] == plain.spaces["ft", "resnet18"]


def test_a_published_range_written_out_gives_the_same_keys():
    for mode in ("grid", "halving", "optuna"):
        plain, same = (
            spec(f"search.mode={mode}"),
            spec(f"search.mode={mode}", "search.ranges.qmul.lr=[0.001,0.1]"),
        )
        assert make_plan(same).nodes.keys() == make_plan(plain).nodes.keys()


def test_a_variant_searches_what_its_method_does_and_nothing_that_it_sets():
    grid = spec("methods=qmul:order=sequential,qmul:lr=0.3", "search.ranges.qmul.lr=[0.05,0.5]")
    assert grid.space("qmul:order=sequential", "resnet18") == {"lr": Range(0.05, 0.5)}
    assert grid.space("qmul:lr=0.3", "resnet18") == {}


@pytest.mark.parametrize("mode", ["halving", "asha", "optuna"])
def test_searches_that_decide_as_they_go_have_the_space_of_the_grid(mode):
    grid = spec(
        f"search.mode={mode}", "methods=rl", "search.ranges.rl.order=sequential,joint", "search.ranges.rl.lr=[0.1,0.9]"
    )  # fmt: skip
    (node,) = [node for node in make_plan(grid).nodes.values() if node.kind == "search"]
    assert Search.of(node).space == {"lr": Range(0.1, 0.9), "order": Choice(("sequential", "joint"))}
    assert make_plan(grid).nodes.keys() != make_plan(spec(f"search.mode={mode}", "methods=rl")).nodes.keys()


def test_of_two_values_there_are_two_trials_in_every_mode():
    ranges = ["methods=rl", "params.rl.lr=0.1", "search.ranges.rl.order=sequential,joint", "search.trials=8"]
    assert tried(spec(*ranges), "rl") == ["order sequential", "order joint"]
    (node,) = [
        n for n in make_plan(spec(*ranges, "search.mode=halving")).nodes.values() if n.kind == "search"
    ]
    assert node.inputs["trials"] == len(Search.of(node).points(node.inputs["trials"])) == 2


def test_optuna_draws_words_whole_numbers_and_fractions():
    from orchestrator.search.candidates import Study

    grid = spec(
        "search.mode=optuna", "methods=rl", "search.ranges.rl.order=sequential,joint", "params.all={}",
        "search.ranges.rl.batch_size=[16,64]",
    )  # fmt: skip
    (node,) = [node for node in make_plan(grid).nodes.values() if node.kind == "search"]
    study, seen = Study(Search.of(node), 9), []
    for number in range(9):
        point = study.suggest(str(number))
        study.tell(str(number), float(number))
        seen.append(point)
        assert point.keys() == {"lr", "order", "batch_size"}
        assert type(point["batch_size"]) is int
        assert 16 <= point["batch_size"] <= 64
        assert 1e-3 <= point["lr"] <= 1e-1
    assert {point["order"] for point in seen} == {"sequential", "joint"}


SPACES = [
    {"lr": Range(0.05, 0.5)},
    {"lr": Range(0.1, 0.3, log=False), "draws": Range(1, 9, log=True, whole=True)},
    {"order": Choice(("joint", "sequential")), "flag": Choice((True, False)), "most": Choice((None, 100))},
]


@pytest.mark.parametrize("space", SPACES)
def test_spaces_and_points_are_read_back_as_they_were_written(space):
    assert space_from(space_json(space)) == space
    for point in grid_points(space, 8):
        assert point_of(tried_text(point)) == pytest.approx(point)
        assert tried_text(point_of(tried_text(point))) == tried_text(point)


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("qmull.lr=[1,2]", "unknown method in search.ranges 'qmull': did you mean 'qmul'?"),
        ("qmul.lrr=[1,2]", "unknown hyper-parameter in search.ranges.qmul 'lrr': did you mean 'lr'?"),
        ("retrain.lr=[1,2]", "search.ranges.retrain: Retrain is the reference"),
        ("qmul.lr=0.1", "search.ranges.qmul.lr=0.1: write two ends"),
        ("qmul.lr=[0.1]", "search.ranges.qmul.lr=[0.1]: write two ends"),
        ("qmul.lr=[]", "search.ranges.qmul.lr=[]: write two ends"),
        ("qmul.lr=[0.5,0.1]", "the lower end comes first; params.qmul.lr sets a single value"),
        ("qmul.lr=[0,0.1]", "a logarithmic range begins above 0"),
        ("qmul.lr=[-0.1,0.1]", "a logarithmic range begins above 0"),
        ('qmul.lr={"low":-1,"high":0.1,"log":false}', "search.ranges.qmul.lr: lr: input should be greater than"),
        ('qmul.lr={"low":0.1}', "in full it is"),
        ("salun.fraction=[0.5,1.5]", "search.ranges.salun.fraction: fraction: input should be less than or equal to 1"),
        ("ft.batch_size=[16.5,64]", "batch_size takes whole numbers"),
        ("rl.order=joint,sequentiall", "search.ranges.rl.order: order: input should be 'joint' or 'sequential'"),
        ("rl.order=joint,joint", "search.ranges.rl.order=[\"joint\", \"joint\"]: write two ends"),
        ("amnesiac.fraction=[0.1,0.5]", "fraction is settled while the original trains; compare variants instead"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_one_line(setting, said):
    with pytest.raises(BadInput) as caught:
        spec(f"search.ranges.{setting}", "params={}")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_fixed_or_settled_by_the_mode_is_not_searched():
    with pytest.raises(BadInput, match=r"search\.ranges\.ft\.batch_size contradicts params"):
        spec("search.ranges.ft.batch_size=[16,64]")  # digits fixes it for all
    with pytest.raises(BadInput, match=r"search\.ranges\.ft\.epochs contradicts search\.mode=halving"):
        spec("search.ranges.ft.epochs=[2,8]", "search.mode=halving")
    assert tried(spec("search.ranges.ft.epochs=[2,8]", "params.ft.lr=0.1"), "ft") == [
        "epochs 2",
        "epochs 5",
        "epochs 8",
    ]


def test_the_report_takes_ends_and_axes_from_the_grid():
    store = Store("memory://ranges")
    store.remove("")
    ranges = {"qmul": {"lr": [0.05, 0.5], "order": ["joint", "sequential"]}}
    search = small_spec().search.model_copy(update={"ranges": ranges})
    fake = Fake(store, small_spec(methods=("retrain", "qmul"), search=search))
    fake.fill()
    rows = {key: record.model_dump() for key, record in fake.rows.items()}
    found = evaluated_trials(fake.plan, collect(fake.plan, rows.values()), rows)
    assert {trial.point["order"] for trial in found} == {"joint", "sequential"}
    first, last = (min(found, key=lambda t: t.point["lr"]), max(found, key=lambda t: t.point["lr"]))
    assert (ends(first), ends(last)) == ({"lr": "lower"}, {"lr": "upper"})
    assert ends(dataclasses.replace(first, point={"lr": 0.1, "order": "joint"})) == {}
