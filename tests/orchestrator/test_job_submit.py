"""`ray job submit`: on a head of its own, with token authentication, from this working folder."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from grid_command import write_spec

from orchestrator.plan import make_plan
from tasks.store import Store

pytestmark = [pytest.mark.slow, pytest.mark.ray, pytest.mark.timeout(600)]
REPOSITORY = Path(__file__).parents[2]
RAY = Path(sys.executable).with_name("ray")


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@pytest.fixture
def head(tmp_path_factory):
    """A Ray head with private ports, folder, home and token; ended by its process group."""
    folder = tmp_path_factory.mktemp("ray")
    environment = os.environ | {"RAY_AUTH_MODE": "token", "HOME": str(folder)}
    subprocess.run([RAY, "get-auth-token", "--generate"], env=environment, check=True, capture_output=True)
    dashboard = free_port()
    ports = [
        f"--port={free_port()}",
        f"--dashboard-port={dashboard}",
    ]
    ports += [f"--dashboard-agent-listen-port={free_port()}", "--dashboard-host=127.0.0.1"]
    command = [
        RAY,
        "start",
        "--head",
        "--block",
        "--num-cpus=2",
        "--temp-dir=/tmp/ug" + str(os.getpid()),
        *ports,
    ]
    process = subprocess.Popen(command, env=environment, start_new_session=True, stdout=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{dashboard}"
    try:
        assert status_without_token(address) == 401
        yield address, environment
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(60)


def status_without_token(address):
    """What a stranger is told once the head answers; None if it never does."""
    for _ in range(120):
        try:
            return urllib.request.urlopen(f"{address}/api/jobs/", timeout=2).status
        except urllib.error.HTTPError as refused:
            return refused.code
        except OSError:
            time.sleep(1)
    return None


def submit(head, *arguments):
    address, environment = head
    command = [RAY, "job", "submit", "--address", address, "--working-dir", str(REPOSITORY), "--"]
    command += [sys.executable, "-m", "orchestrator.grid", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=400)


def test_a_submitted_grid_runs_where_its_store_survives(head, tiny, tmp_path):
    spec = write_spec(tmp_path, tiny)
    done = submit(head, "--spec", str(spec))
    assert "succeeded" in done.stdout, done.stdout + done.stderr
    store = Store(str(Path(head[1]["HOME"]) / "unlearn-grid" / tiny.recipe))
    assert store.finished() == make_plan(tiny).nodes.keys()
    again = submit(head, "--spec", str(spec))
    assert "nothing left to compute" in again.stdout


def test_the_bare_command_is_the_whole_paper_and_asks_for_gpus(head):
    done = submit(head)
    assert done.returncode != 0
    assert "recipe full is made for GPUs and the cluster shows none" in done.stdout + done.stderr
