"""Faults of a cluster: workers and machines that die, nodes that do not fit beside others."""

import os
import random
import signal
import time
from collections.abc import Sequence
from pathlib import Path

from tests.chaos.audit import Finding
from tests.chaos.autoscaling import AutoscalingCluster
from tests.chaos.cluster import Cluster
from tests.chaos.driver_faults import Expected, Scene, kill_rounds
from tests.chaos.drivers import Drivers
from tests.chaos.stub import LOG, OOM, SECONDS


class ClusterScene(Scene):
    """A scene on a cluster of its own, whose workers know the log."""

    def __init__(self, drivers: Drivers, folder: Path, options: Sequence[str] = (), **env: str) -> None:
        super().__init__(drivers, folder, ("--executor", "ray", *options), **env)

    def cluster(self, gpus: list[int], seconds: str = "0.05", **env: str) -> Cluster:
        """The cluster of the scene's drivers."""
        return Cluster(gpus, {LOG: str(self.log), SECONDS: seconds, **env})

    def join(self, cluster: Cluster | AutoscalingCluster) -> None:
        """Drivers started from now on work there."""
        self.environment["RAY_ADDRESS"] = cluster.address


def driver_killed(drivers: Drivers, folder: Path, expected: Expected, rounds: int, seed: int) -> Finding:
    """SIGKILL of the driver; what its workers were at dies with it, or is finished by them."""
    scene = ClusterScene(drivers, folder)
    with scene.cluster([1, 1]) as cluster:
        scene.join(cluster)
        hit = kill_rounds(scene, rounds, seed)
    return scene.audit("driver SIGKILL at a random moment", hit, expected, "on Ray, two raylets")


def workers_killed(drivers: Drivers, folder: Path, expected: Expected, times: int, seed: int) -> Finding:
    """SIGKILL of a worker at work, again and again."""
    draw, scene, hit = random.Random(seed), ClusterScene(drivers, folder), 0
    with scene.cluster([1, 1]) as cluster:
        scene.join(cluster)
        driver = scene.start()
        for number in range(times):
            scene.wait_for(5 + number * 60 // times)
            time.sleep(draw.uniform(0, 0.05))
            if pids := _soon_working(cluster.raylets):
                os.kill(draw.choice(pids), signal.SIGKILL)
                hit += 1
        assert driver.wait() == 0, driver.errors[-3000:]
    return scene.audit("worker SIGKILL", hit, expected, "two raylets of one make-believe GPU")


def _soon_working(raylets: list[int], seconds: float = 3) -> list[int]:
    """The workers at work, as soon as there are any; between two nodes there are none."""
    until = time.monotonic() + seconds
    while not (pids := working(raylets)) and time.monotonic() < until:
        time.sleep(0.01)
    return pids


def raylet_killed(drivers: Drivers, folder: Path, expected: Expected) -> Finding:
    """One of two GPU machines dies for good while both work: the other one does the rest."""
    scene = ClusterScene(drivers, folder)
    with scene.cluster([1, 1]) as cluster:
        scene.join(cluster)
        driver = scene.start()
        scene.wait_for(20)
        cluster.kill_raylet(0)
        assert driver.wait() == 0, driver.errors[-3000:]
    at_work = {fields[3].split("/")[0] for fields in scene.events("start")}
    assert at_work >= {str(pid) for pid in cluster.raylets}
    return scene.audit("raylet SIGKILL", 1, expected, "one of two, never replaced")


def raylet_replaced(drivers: Drivers, folder: Path, expected: Expected) -> Finding:
    """The only GPU machine dies; the run waits, and goes on when another one joins."""
    scene = ClusterScene(drivers, folder)
    with scene.cluster([1]) as cluster:
        scene.join(cluster)
        driver = scene.start()
        scene.wait_for(20)
        cluster.kill_raylet(0)
        time.sleep(2)
        cluster.add_raylet(1)
        assert driver.wait() == 0, driver.errors[-3000:]
    return scene.audit("raylet SIGKILL", 1, expected, "the only one, replaced by another machine")


def out_of_memory(drivers: Drivers, folder: Path, expected: Expected) -> Finding:
    """GA's trials do not fit beside others on half a GPU: each runs again with a GPU to itself."""
    scene = ClusterScene(drivers, folder, ("--set", "resources.gpus_per_slot=0.5"))
    with scene.cluster([1, 1], **{OOM: "beside"}) as cluster:
        scene.join(cluster)
        driver = scene.start()
        assert driver.wait() == 0, driver.errors[-3000:]
    ends = {fields[1]: fields for fields in scene.events("whole")}
    assert {scene.plan.nodes[key].inputs["method"] for key in ends} == {"ga"}
    assert len(ends) == 8
    beside = scene.events("start")
    for key, fields in ends.items():
        gpu, end = fields[3], float(fields[4])
        begin = max(float(f[4]) for f in beside if f[1] == key)
        intruders = [f for f in beside if f[3] == gpu and f[1] != key and begin <= float(f[4]) <= end]
        assert intruders == [], f"{key[:12]} had company on {gpu}"
    return scene.audit("out of memory beside others", 8, expected, "run again with the GPU to themselves")


def working(raylets: list[int]) -> list[int]:
    """Process ids of these raylets' workers that run a node; Ray writes the method into the command line."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            command = (folder / "cmdline").read_bytes()
        except (OSError, ValueError):
            continue
        if parent in raylets and command.startswith(b"ray::StubWorker.run"):
            found.append(int(folder.name))
    return found
