"""Workers and machines that die, and nodes that do not fit: on clusters of make-believe GPUs."""

import pytest

from tests.chaos import cluster_faults as faults, driver_faults, tracker_faults
from tests.chaos.drivers import Drivers

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def drivers(tmp_path_factory, private_surroundings):
    with Drivers(tmp_path_factory.mktemp("drivers"), {}) as started:
        yield started


@pytest.fixture(scope="module")
def expected(drivers, tmp_path_factory):
    return driver_faults.undisturbed(drivers, tmp_path_factory.mktemp("undisturbed"))


def test_killed_workers_cost_the_nodes_they_were_at(drivers, expected, tmp_path):
    finding = faults.workers_killed(drivers, tmp_path, expected, times=5, seed=1)
    assert finding.clean, finding
    assert finding.injected >= 3
    assert finding.recomputed == 0
    assert finding.repeated <= finding.injected


def test_a_machine_that_dies_is_done_without(drivers, expected, tmp_path):
    finding = faults.raylet_killed(drivers, tmp_path, expected)
    assert finding.clean, finding
    assert finding.recomputed == 0
    assert finding.repeated <= 2  # its training node, and one on its CPU


def test_the_only_gpu_dies_and_another_one_takes_over(drivers, expected, tmp_path):
    finding = faults.raylet_replaced(drivers, tmp_path, expected)
    assert finding.clean, finding


def test_what_does_not_fit_beside_others_runs_alone_on_its_gpu(drivers, expected, tmp_path):
    finding = faults.out_of_memory(drivers, tmp_path, expected)
    assert finding.clean, finding
    assert finding.repeated == 8  # each was started twice


def test_an_mlflow_server_that_dies_is_caught_up_with(drivers, expected, tmp_path):
    finding = tracker_faults.tracker_killed(drivers, tmp_path, expected)
    assert finding.clean, finding
    assert (finding.recomputed, finding.repeated) == (0, 0)
