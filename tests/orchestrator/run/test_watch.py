"""What running nodes say, as the driver uses it: time left, the pace before anything has ended, and parting words."""

import io
import time

import pytest
from rich.console import Console

from orchestrator.cli import status
from orchestrator.plan.costs.estimate import CostModel
from orchestrator.plan.frontier import Frontier
from orchestrator.plan.grid_plan import make_plan
from orchestrator.run.progress import Progress, counts_of
from orchestrator.run.watch import Watch, words
from orchestrator.spec.titles import duration
from tasks.store.running import SILENT, Running, name_of
from tasks.store.store import Store
from tests.one_problem import digits
from tests.orchestrator.made_pace import made_pace


@pytest.fixture
def store(tmp_path):
    return Store(str(tmp_path / "store"))


@pytest.fixture
def plan():
    return make_plan(digits())


@pytest.fixture
def cost():
    return CostModel(made_pace())


def says(store, node, **changes):
    """Has a node say how far it is."""
    now = time.time()
    facts = {"epochs": 20, "epoch": 13, "per_second": 1240.0, "left": 126.0, "whole": 400.0, "idle": 0.5}
    told = Running(
        key=node.key, node=node.words, host="here", pid=7, begun=now - 260, told=now, **facts | changes
    )
    store.put(name_of(node.key), told.model_dump_json().encode())
    return told


def original_of(plan):
    return next(node for node in plan.nodes.values() if node.kind == "original")


def test_a_running_node_says_its_epoch_its_speed_and_its_time_left(store, plan):
    told = says(store, original_of(plan))
    assert words(told) == f"epoch 14 of 20 · 1,240 images/s · about {duration(126)} left"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [({"idle": 300.0}, "nothing moved for 5.0 min"), ({"told": 1.0}, "worker on here silent for")],
)
def test_a_stuck_node_is_visible_as_one(store, plan, changes, expected):
    told = says(store, original_of(plan), **changes) if "told" not in changes else None
    told = told or says(store, original_of(plan)).model_copy(update=changes)
    assert expected in words(told)
    assert "left" not in words(told)


def test_the_pace_of_nodes_at_work_counts_before_any_has_ended(store, plan, cost):
    node = original_of(plan)
    before = cost.total(plan.nodes.values())
    says(store, node, whole=100 * cost.work(node))
    watch = Watch(store, cost, 10)
    assert watch.look([node])[node.key].epoch == 13
    assert cost.factor == pytest.approx(100.0)
    assert cost.total(plan.nodes.values()) == pytest.approx(100 * before)
    assert watch.left(node) == 126.0
    cost.observe(node, 2 * cost.work(node))  # one that has ended knows better
    assert cost.factor == pytest.approx(2.0)


def test_parting_words_say_how_long_and_what_is_lost(store, plan, cost):
    node = original_of(plan)
    says(store, node)
    said = Watch(store, cost, 10).parting([node])
    assert said == (
        f"waiting for 1 node at work, about {duration(126)}; again to stop at once, which loses 3 epochs since their "
        "last checkpoints and nothing else"
    )
    assert Watch(store, cost, 10).parting([]) == "nothing is at work"


def test_a_tracker_hears_of_every_node_once_an_epoch(store, plan, cost, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr("orchestrator.run.watch.time.monotonic", lambda: now[0])
    node, watch, heard = original_of(plan), Watch(store, cost, 10), []
    for epoch in (0, 1, 1, 1, 2):
        says(store, node, epoch=epoch)
        now[0] += 60.0
        watch.look([node])
        heard.append([each.epoch for _, each in watch.news([node])])
    assert heard == [[], [1], [], [], [2]]


@pytest.mark.parametrize("terminal", [True, False])
def test_progress_shows_how_far_running_nodes_are(store, plan, cost, terminal, monkeypatch):
    node, now = original_of(plan), [1000.0]
    says(store, node)
    monkeypatch.setattr("orchestrator.run.progress.time.monotonic", lambda: now[0])
    console = Console(width=100, file=io.StringIO(), force_terminal=terminal)
    frontier = Frontier(plan, dict.fromkeys(plan.nodes, 1.0), ())
    show = Progress(console, frontier)
    if terminal:
        console.print(show.view(counts_of(frontier), [node], 60.0, Watch(store, cost, 10).look([node])))
    else:
        now[0] += 31.0
        show.update([node], lambda: 60.0, Watch(store, cost, 10).look)
    text = console.file.getvalue()
    assert node.words in text
    assert "epoch 14 of 20 · 1,240 images/s" in text


def test_status_of_any_shell_sees_them(store, plan):
    says(store, original_of(plan), idle=2 * SILENT)
    found = status.grid_state(digits(), plan, store)
    (at_work,) = found.facts["running"]
    assert (at_work["epoch"], at_work["epochs"], at_work["stuck"]) == (13, 20, True)
    console = Console(width=80, file=io.StringIO())
    status.print_state(console, digits(), store, found)
    assert "nothing moved for" in " ".join(console.file.getvalue().split())
