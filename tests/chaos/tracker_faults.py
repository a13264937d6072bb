"""Faults of the tracker: an MLflow server that goes away in the middle of a run, and comes back later."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.chaos.audit import Finding
from tests.chaos.driver_faults import Expected, Scene
from tests.chaos.drivers import Drivers


def tracker_killed(drivers: Drivers, folder: Path, expected: Expected) -> Finding:
    """SIGKILL of the MLflow server at work; the grid goes on, and `sync` catches up with the next server."""
    port = free_port()
    uri = f"http://127.0.0.1:{port}"
    tracked = ("--set", "tracking.enabled=true", "--set", f"tracking.uri={uri}")
    scene = Scene(drivers, folder, ("--executor", "inline", *tracked))
    with server(folder, port) as process:
        driver = scene.start()
        scene.wait_for(30)
        os.killpg(process.pid, signal.SIGKILL)
        assert driver.wait() == 0, driver.errors[-3000:]
    assert "the results are safe" in driver.errors, driver.errors
    assert scene.store.finished() == scene.plan.nodes.keys()
    with server(folder, port):
        before = tracked_nodes(uri)
        arguments = ("--store", scene.store.address, *tracked)
        synced = drivers.start(*arguments, verb="sync")
        assert synced.wait() == 0, synced.errors[-3000:]
        after = tracked_nodes(uri)
        again = drivers.start(*arguments, verb="sync")
        assert again.wait() == 0, again.errors[-3000:]
        assert again.facts["written"] == 0
        assert tracked_nodes(uri) == after
    wanted = {k for k, n in scene.plan.nodes.items() if n.kind in ("evaluate", "select")}
    assert set(after) == wanted
    assert len(after) == len(set(after)), "a node has two runs"
    note = f"{len(before)} of {len(wanted)} runs before, all of them after `sync`, none twice"
    return scene.audit("MLflow server SIGKILL", 1, expected, note)


@contextmanager
def server(
    folder: Path, port: int, database: str | None = None, workers: int = 1
) -> Iterator["subprocess.Popen[bytes]"]:
    """An MLflow server on loopback over the database, which is a file in the folder if none is named."""
    options = {
        "--host": "127.0.0.1",
        "--port": str(port),
        "--workers": str(workers),
        "--backend-store-uri": database or f"sqlite:///{folder}/server.db",
        "--artifacts-destination": str(folder / "files"),
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "mlflow", "server", *(word for pair in options.items() for word in pair)],
        cwd=folder,
        env=os.environ
        | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},  # ten more processes, for what no grid asks
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        _wait_for(f"http://127.0.0.1:{port}/health", process)
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def tracked_nodes(uri: str) -> list[str]:
    """The node of every run the server knows."""
    from mlflow.tracking import MlflowClient

    client = MlflowClient(uri)
    experiments = [e.experiment_id for e in client.search_experiments()]
    runs = client.search_runs(experiments, max_results=1000)
    return sorted(run.data.tags["node_key"] for run in runs if "node_key" in run.data.tags)


def _wait_for(address: str, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(address, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.3)
    raise RuntimeError("the MLflow server did not start")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
