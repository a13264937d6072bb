"""Which nodes may run, when, and what a failure takes with it."""

import pytest

from orchestrator.plan.frontier import Frontier, State
from orchestrator.plan.grid_plan import make_plan
from tasks.node import TRAINING
from tests.one_problem import digits

FOREVER = float("inf")


@pytest.fixture(scope="module")
def plan():
    return make_plan(digits())


def frontier(plan, done=(), failed=(), running=()):
    cost = {key: {"original": 10.0, "retrain": 20.0}.get(n.kind, 1.0) for key, n in plan.nodes.items()}
    return Frontier(plan, cost, done, failed, running)


def drain(front, fail=lambda node: False):
    """Runs everything that becomes ready; returns nodes in the order they started."""
    order = []
    while node := (front.next_task(FOREVER) or front.next_training(None, FOREVER)):
        order.append(node)
        front.fail(node.key) if fail(node) else front.finish(node.key)
    return order


def test_everything_runs_once_after_its_parents(plan):
    front = frontier(plan)
    order = [node.key for node in drain(front)]
    assert sorted(order) == sorted(plan.nodes)
    place = {key: i for i, key in enumerate(order)}
    assert all(place[p] < place[n.key] for n in plan.nodes.values() for p in n.parents)
    assert front.count(State.DONE) == len(plan.nodes)


def test_finished_nodes_are_not_handed_out(plan):
    done = {key for key, n in plan.nodes.items() if n.kind in ("data", "original")}
    assert done.isdisjoint(node.key for node in drain(frontier(plan, done)))


def test_a_node_whose_finished_parent_was_lost_waits_for_it(plan):
    lost = next(key for key, n in plan.nodes.items() if n.kind == "original")
    front = frontier(plan, plan.nodes.keys() - {lost})
    assert [node.key for node in drain(front)] == [lost]


def test_the_longest_node_starts_first(plan):
    front = frontier(plan)
    front.finish(front.next_task(FOREVER).key)
    assert front.next_training(None, FOREVER).kind == "retrain"


def test_nothing_longer_than_the_time_left_is_started(plan):
    front = frontier(plan)
    front.finish(front.next_task(FOREVER).key)
    assert front.next_training(None, 15.0).kind == "original"
    assert front.next_training(None, 15.0) is None
    assert front.next_training(None, FOREVER).kind == "retrain"


def test_a_failed_trial_leaves_its_cell_alive(plan):
    victim = next(key for key, n in plan.nodes.items() if n.kind == "trial")
    front = frontier(plan)
    drain(front, lambda node: node.key == victim)
    assert front.count(State.FAILED) == 1
    assert [plan.nodes[k].kind for k in front.keys(State.BLOCKED)] == ["evaluate"]


def test_a_cell_without_any_trial_is_blocked(plan):
    front = frontier(plan)
    drain(front, lambda node: node.kind == "trial" and node.inputs["method"] == "ft")
    blocked = [plan.nodes[k] for k in front.keys(State.BLOCKED)]
    assert {n.inputs["method"] for n in blocked} == {"ft"}
    assert sum(n.kind == "select" for n in blocked) == 1


def test_a_failed_retrain_blocks_the_selections_only(plan):
    front = frontier(plan)
    order = drain(front, lambda node: node.kind == "retrain")
    assert sum(n.kind == "trial" for n in order) == plan.counts()["trial"]
    assert not any(n.kind == "select" for n in order)


def test_running_nodes_are_not_handed_out_twice(plan):
    running = {key for key, n in plan.nodes.items() if n.kind == "data"}
    front = frontier(plan, running=running)
    assert front.next_task(FOREVER) is None
    front.finish(next(iter(running)))
    assert front.next_training(None, FOREVER) is not None


def test_failed_before_means_blocked_now(plan):
    failed = {key for key, n in plan.nodes.items() if n.kind == "data"}
    front = frontier(plan, failed=failed)
    assert drain(front) == []
    assert front.count(State.BLOCKED) == len(plan.nodes) - 1


def test_a_slot_keeps_its_affinity_when_the_work_is_of_similar_length():
    spec = digits().model_copy(update={"quantizers": ("4w4a", "fp")})
    plan = make_plan(spec)
    front = frontier(
        plan, done=[k for k, n in plan.nodes.items() if n.kind not in ("trial", "evaluate", "select")]
    )
    first = front.next_training(None, FOREVER)
    for _ in range(10):
        assert front.next_training(first.affinity, FOREVER).affinity == first.affinity
    assert first.kind in TRAINING
