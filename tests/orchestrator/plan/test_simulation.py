"""The simulated schedule: Graham's bounds, one worker, the paper's grid, and the forecast that `plan` prints."""

import json

import pytest
from hypothesis import given, settings, strategies as st

from orchestrator import grid
from orchestrator.plan.costs.estimate import CostModel
from orchestrator.plan.costs.paces import as_in_the_paper
from orchestrator.plan.costs.scaling import DOUBLING, forecast, forecast_rows
from orchestrator.plan.costs.simulation import cpu_workers, longest_path, simulate, with_searches
from orchestrator.plan.expansion import expected
from orchestrator.plan.grid_plan import Plan, make_plan
from orchestrator.spec.recipes import full
from tasks.node import TRAINING, Node
from tests.one_problem import digits
from tests.orchestrator.made_pace import made_pace


def graph(edges):
    """A plan of training nodes, each with the numbers of those that it reads."""
    place = {"dataset": "cifar10", "arch": "resnet18", "quant": "4w4a"}
    nodes = [
        Node("trial", f"{i:03}", tuple(f"{p:03}" for p in parents), place) for i, parents in enumerate(edges)
    ]
    return Plan({node.key: node for node in nodes})


def makespan(plan, seconds, workers):
    return simulate(plan, seconds, workers, cpu_workers=1).makespan


@st.composite
def graphs(draw):
    """Up to 30 nodes, each after some of those before it, with whole seconds: sums are then exact."""
    count = draw(st.integers(1, 30))
    edges = [draw(st.sets(st.integers(0, i - 1), max_size=3)) if i else set() for i in range(count)]
    times = draw(st.lists(st.integers(1, 50), min_size=count, max_size=count))
    return graph(edges), {f"{i:03}": float(each) for i, each in enumerate(times)}


@given(graphs(), st.integers(1, 8))
@settings(deadline=None, max_examples=100)
def test_a_schedule_keeps_the_bounds_of_list_scheduling(drawn, workers):
    """Graham 1966: no shorter than work over workers or longest path, no longer than both together."""
    plan, seconds = drawn
    work, path = sum(seconds.values()), sum(seconds[n.key] for n in longest_path(plan, seconds))
    took = makespan(plan, seconds, workers)
    assert max(work / workers, path) <= took <= work / workers + (1 - 1 / workers) * path + 1e-9
    assert makespan(plan, seconds, 1) == work
    assert makespan(plan, seconds, len(plan.nodes)) == path


def test_a_graph_scheduled_by_hand():
    """A chain of 3 and 4 seconds beside 2, 2 and 2: on two workers the chain begins with its first node."""
    plan = graph([(), (0,), (), (), ()])
    seconds = {"000": 3.0, "001": 4.0, "002": 2.0, "003": 2.0, "004": 2.0}
    assert [makespan(plan, seconds, n) for n in (1, 2, 3)] == [13.0, 7.0, 7.0]
    assert [node.key for node in longest_path(plan, seconds)] == ["000", "001"]
    assert simulate(plan, seconds, 2, 1).utilisation == pytest.approx(13 / 14)


def test_what_needs_no_slot_runs_beside_on_cpu_workers():
    plan = graph([(), ()])
    measured = [Node("evaluate", f"e{i}", (f"{i:03}",), {}) for i in range(2)]
    plan.nodes.update({node.key: node for node in measured})
    seconds = {"000": 2.0, "001": 1.0, "e0": 5.0, "e1": 5.0}
    assert (
        simulate(plan, seconds, 1, 1).makespan == 2 + 5 + 5
    )  # the longer trial first, then both evaluations
    assert simulate(plan, seconds, 1, 2).makespan == 2 + 1 + 5
    assert simulate(plan, seconds, 1, 2, done=["000", "001", "e0"]).makespan == 5


@pytest.fixture(scope="module")
def paper():
    plan, cost = make_plan(full()), CostModel(as_in_the_paper(made_pace()))
    return plan, {key: cost.seconds(node) for key, node in plan.nodes.items()}


def test_more_gpus_never_take_longer_over_the_papers_grid(paper):
    plan, seconds = paper
    work = sum(seconds[key] for key, node in plan.nodes.items() if node.kind in TRAINING)
    path = sum(seconds[node.key] for node in longest_path(plan, seconds))
    found = [simulate(plan, seconds, n, cpu_workers(n, gpu=True)) for n in DOUBLING]
    took = [each.makespan for each in found]
    assert took == sorted(took, reverse=True)
    assert work <= took[0] < 1.01 * work
    assert took[-1] == pytest.approx(path)
    assert all(0 < each.utilisation <= 1 for each in found)
    assert simulate(plan, seconds, 8, 16) == simulate(plan, seconds, 8, 16)


def test_cpu_workers_are_those_of_a_real_run():
    assert [cpu_workers(n, gpu=True) for n in (1, 4, 8, 1024)] == [2, 8, 16, 16]
    assert [cpu_workers(n, gpu=False) for n in (1, 2, 8, 64)] == [1, 1, 4, 16]


@pytest.mark.parametrize("mode", ["halving", "optuna"])
def test_searches_to_come_are_simulated_with_the_parts_that_are_expected(mode):
    spec = digits()
    spec = spec.model_copy(update={"search": spec.search.model_copy(update={"mode": mode, "trials": 4})})
    plan, cost = make_plan(spec), CostModel(made_pace())
    grown = with_searches(plan, ())
    searches = [node for node in plan.nodes.values() if node.kind == "search"]
    new = [node for key, node in grown.nodes.items() if key not in plan.nodes and node.kind == "trial"]
    assert searches
    assert len(new) == sum(count for node in searches for count, _ in expected(node))
    assert sum(map(cost.work, new)) == pytest.approx(sum(map(cost.work, searches)))
    seconds = {key: cost.work(node) for key, node in grown.nodes.items()}
    trained = sum(seconds[key] for key, node in grown.nodes.items() if node.kind in TRAINING)
    assert trained <= simulate(grown, seconds, 1, 1).makespan < 1.2 * trained
    assert with_searches(plan, [node.key for node in searches]).nodes == plan.nodes


def test_a_plan_without_searches_is_simulated_as_it_is(paper):
    assert with_searches(paper[0], ()).nodes == paper[0].nodes


def test_a_forecast_says_hours_trials_and_the_limit(paper):
    plan, _ = paper
    facts = forecast(plan, CostModel(as_in_the_paper(made_pace())), done=())
    assert list(facts["hours_on"]) == [str(n) for n in DOUBLING]
    assert facts["hours_on"]["1024"] == pytest.approx(facts["critical_path_hours"], abs=1e-3)
    first = next(int(n) for n in facts["hours_on"] if int(n) >= facts["path_limits_from"])
    assert facts["hours_on"][str(first)] < 2 * facts["critical_path_hours"]
    assert facts["critical_path"][-1].startswith("select")
    rows = forecast_rows(facts)
    assert "longest path, not the work" in rows["limit"]
    assert "ResNet-18" in rows["pace"]
    assert "MobileNetV2" in rows["pace"]


def test_nothing_left_is_no_time_on_any_number_of_workers(paper):
    facts = forecast(paper[0], CostModel(as_in_the_paper(made_pace())), done=paper[0].nodes.keys())
    assert set(facts["hours_on"].values()) == {0.0}
    assert facts["critical_path_hours"] == 0
    assert forecast_rows(facts) == {}


def test_a_huge_plan_is_simulated_only_when_asked(monkeypatch):
    monkeypatch.setattr("orchestrator.plan.costs.scaling._AT_MOST", 100)
    plan, cost = make_plan(digits()), CostModel(made_pace())
    assert list(forecast(plan, cost, done=())["hours_on"]) == ["1"]
    monkeypatch.setattr("orchestrator.plan.costs.scaling._AT_MOST", 10)
    facts = forecast(plan, cost, done=())
    assert facts["hours_on"] == {}
    assert "--workers" in forecast_rows(facts)["workers"]
    assert list(forecast(plan, cost, done=(), workers=[2])["hours_on"]) == ["2"]


def test_plan_prints_hours_on_the_workers_asked_for(capsys, tmp_path):
    arguments = ["plan", "--recipe", "digits", "--store", str(tmp_path), "--workers", "3,1"]
    assert grid.main([*arguments, "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert list(facts["hours_on"]) == ["1", "3"]
    assert facts["hours"] == pytest.approx(facts["hours_on"]["1"], abs=0.02)
    assert grid.main(arguments) == 0
    assert " · 3: " in capsys.readouterr().out
    assert grid.main([*arguments[:-1], "0"]) == 2
    assert "write numbers of workers" in capsys.readouterr().err


def test_what_is_done_takes_no_part_in_the_longest_path():
    plan = graph([(), (0,), (0, 1)])
    seconds = {"000": 9.0, "001": 1.0, "002": 1.0}
    assert [node.key for node in longest_path(plan, seconds, done=["000"])] == ["001", "002"]
