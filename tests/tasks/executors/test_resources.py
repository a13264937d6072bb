"""How many slots a cluster has, and which requests nobody can ever meet."""

from dataclasses import replace

import pytest

from core.errors import BadInput
from tasks.executors.resources import Group, cluster_capacity

TWO_GPUS = [{"CPU": 8.0}, {"CPU": 16.0, "GPU": 2.0}]


@pytest.mark.parametrize(
    ("nodes", "share", "slots", "expected"),
    [
        (TWO_GPUS, 1.0, None, (2, 1.0)),
        (TWO_GPUS, 0.5, None, (4, 0.5)),
        (TWO_GPUS, 0.5, 3, (3, 0.5)),
        (TWO_GPUS, 2.0, None, (1, 2.0)),
        ([{"CPU": 2.0}], 1.0, None, (2, 0)),
        ([{"CPU": 2.0}], 1.0, 1, (1, 0)),
    ],
)
def test_slots_follow_the_nodes(nodes, share, slots, expected):
    capacity = cluster_capacity(nodes, "auto", share, slots)
    assert (capacity.slots, capacity.gpus) == expected
    assert capacity.cpu_tasks >= 1


def test_cpu_ignores_gpus():
    assert cluster_capacity(TWO_GPUS, "cpu", 1.0, None).gpus == 0


@pytest.mark.parametrize("share", [3.0, 8.0])
def test_a_share_that_no_node_has_is_found_before_work_starts(share):
    with pytest.raises(BadInput, match=r"no node has that many GPUs \(the largest has 2\)"):
        cluster_capacity(TWO_GPUS, "auto", share, None)


def test_cuda_without_gpus_is_refused():
    with pytest.raises(BadInput, match="no node has"):
        cluster_capacity([{"CPU": 4.0}], "cuda", 1.0, None)


def test_a_cluster_without_any_cpu_is_refused():
    """A request that no node can meet does not fail in Ray: it waits for ever."""
    with pytest.raises(BadInput, match="no node of the cluster has a CPU"):
        cluster_capacity([{"CPU": 0.0}], "auto", 1.0, None)


HEAD = [{"CPU": 4.0}]
WORKERS = Group({"CPU": 8.0, "GPU": 4.0}, 3)


@pytest.mark.parametrize(
    ("device", "share", "slots", "groups", "expected"),
    [
        ("auto", 1.0, None, [WORKERS], (12, 1.0, 12)),
        ("auto", 0.5, None, [WORKERS], (24, 0.5, 24)),
        ("auto", 1.0, 5, [WORKERS], (5, 1.0, 5)),
        ("cuda", 4.0, None, [WORKERS], (3, 4.0, 3)),
        ("cpu", 1.0, None, [WORKERS], (24, 0, 20)),
        ("auto", 1.0, None, [Group({"CPU": 8.0, "GPU": 4.0}, 0)], (4, 0, 0)),
        ("auto", 1.0, None, [Group({"CPU": 8.0}, 2)], (16, 0, 12)),
    ],
)
def test_a_cluster_that_starts_without_gpus_is_not_taken_for_one_without(
    device, share, slots, groups, expected
):
    capacity = cluster_capacity(HEAD, device, share, slots, groups)
    assert (capacity.slots, capacity.gpus, capacity.coming) == expected
    assert ("when machines come" in capacity.words) == (expected[2] > 0)


def test_words_say_how_many_trials_may_share_a_gpu():
    assert replace(cluster_capacity(TWO_GPUS, "auto", 1.0, None), trials=4).words == (
        "2 slots of 1 GPU with up to 4 trials"
    )


def test_a_share_that_no_machine_to_come_has_is_found_before_work_starts():
    with pytest.raises(BadInput, match=r"the largest has 4"):
        cluster_capacity(HEAD, "auto", 5.0, None, [WORKERS])
