"""A cluster that has no GPU yet: the grid asks for machines, waits for them, works there and lets them go."""

import shutil

import pytest

from tasks.node import TRAINING
from tests.chaos import driver_faults
from tests.chaos.autoscaling import AutoscalingCluster
from tests.chaos.cluster_faults import ClusterScene
from tests.chaos.drivers import Drivers
from tests.chaos.stub import LOG, SECONDS

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(300)]


def test_a_grid_brings_up_gpu_machines_from_none_and_leaves_none(tmp_path, private_surroundings):
    with Drivers(tmp_path, {}) as drivers:
        expected = driver_faults.undisturbed(drivers, tmp_path / "undisturbed")
        scene = ClusterScene(drivers, tmp_path / "scene")
        with AutoscalingCluster(2, {LOG: str(scene.log), SECONDS: "0.4"}) as cluster:
            scene.join(cluster)
            shutil.copy(cluster.file, tmp_path)
            scene.environment["HOME"] = str(tmp_path)  # the head's, where `ray up` leaves the cluster file
            assert cluster.machines() == 0
            driver = scene.start()
            assert driver.wait() == 0, driver.errors[-3000:]
            assert "2 slots of 1 GPU, 2 of them when machines come" in driver.errors
            cluster.wait_for(0, seconds=60)
    finding = scene.audit("no fault", 0, expected)
    assert finding.clean, finding
    assert (finding.recomputed, finding.repeated) == (0, 0)
    training = {key for key, node in scene.plan.nodes.items() if node.kind in TRAINING}
    homes = [fields[3].split("/") for fields in scene.events("start") if fields[1] in training]
    assert {gpu for _, gpu in homes} == {"0"}
    assert len({machine for machine, _ in homes}) == 2
