"""A Ray cluster of one machine: a head without GPU and raylets with make-believe GPUs, which can be killed.

It lives in a process of its own, with its own folder, ports and home, and ends with that process.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from typing import Any


class Cluster:
    """The cluster while the context lasts. gpus: of each raylet beside the head."""

    def __init__(self, gpus: list[int], environment: dict[str, str]) -> None:
        self._folder = tempfile.mkdtemp(prefix="ug-")  # short: Ray puts sockets below it
        self._environment = {
            **os.environ,
            **environment,
            "RAY_TMPDIR": self._folder,
            "RAY_AUTH_MODE": "disabled",
            # seconds until a silent machine counts as dead: 5 instead of 13
            "RAY_health_check_initial_delay_ms": "1000",
            "RAY_health_check_period_ms": "1000",
            "RAY_health_check_failure_threshold": "4",
        }
        self._gpus = gpus

    def __enter__(self) -> "Cluster":
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.chaos.cluster", json.dumps(self._gpus)],
            env=self._environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )
        facts = self._read()
        self.address: str = facts["address"]
        self.raylets: list[int] = facts["raylets"]
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(60)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        for line in self._process.stdout:  # Ray prints lines of its own
            if line.startswith("{"):
                facts: dict[str, Any] = json.loads(line)
                return facts
        raise RuntimeError("the cluster did not start")

    def kill_raylet(self, number: int) -> None:
        """SIGKILL, as when a spot machine is taken away; its workers follow by themselves."""
        os.kill(self.raylets[number], signal.SIGKILL)

    def add_raylet(self, gpus: int) -> None:
        """Another machine joins."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{gpus}\n")
        self._process.stdin.flush()
        self.raylets = self._read()["raylets"]


def _serve(gpus: list[int]) -> None:
    from ray.cluster_utils import Cluster as RayCluster

    cluster = RayCluster(
        initialize_head=True, head_node_args={"num_cpus": 2, "num_gpus": 0, "include_dashboard": False}
    )
    nodes = [cluster.add_node(num_cpus=1, num_gpus=count) for count in gpus]

    def tell() -> None:
        pids = [node.all_processes["raylet"][0].process.pid for node in nodes]
        print(json.dumps({"address": cluster.address, "raylets": pids}), flush=True)

    tell()
    for line in sys.stdin:
        nodes.append(cluster.add_node(num_cpus=1, num_gpus=int(line)))
        tell()
    cluster.shutdown()


if __name__ == "__main__":
    _serve(json.loads(sys.argv[1]))
