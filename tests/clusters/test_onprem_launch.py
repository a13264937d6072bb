"""`ray up clusters/onprem.yaml`, for real: two hosts that answer SSH, a job on both, `ray down`."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from orchestrator.plan.grid_plan import make_plan
from tasks.store.store import Store
from tests.clusters.ssh_hosts import HOME, Hosts, what_is_missing

pytestmark = [pytest.mark.slow, pytest.mark.ray, pytest.mark.timeout(900)]
REPOSITORY = Path(__file__).parents[2]
MAKE = ("make", "-C", REPOSITORY, "-o", ".venv/ready", f"BIN={Path(sys.executable).parent}")
FILE = f"{HOME}/onprem.yaml"


@pytest.fixture
def hosts(tmp_path):
    missing = what_is_missing()
    if missing:
        pytest.skip(f"no hosts on this machine: {missing}")
    running = Hosts(tmp_path / "hosts", ("192.0.2.1", "192.0.2.2"))
    yield running
    running.close()


def edited(text):
    """The file as a person fills it in for these hosts: one worker, all else as the examples say."""
    return text.replace("EDIT_", "").replace("[192.0.2.2, 192.0.2.3]", "[192.0.2.2]")


@contextmanager
def forwarded_dashboard(hosts):
    """While active, the client reaches the head's dashboard at its own loopback address."""
    process = subprocess.Popen(
        hosts.command("ray", "dashboard", FILE), env=hosts.environment, stdout=subprocess.DEVNULL
    )
    try:
        answers = ("bash", "-c", "until : < /dev/tcp/127.0.0.1/8265; do sleep 0.5; done")
        hosts.run(*answers, stderr=subprocess.DEVNULL, timeout=60)
        yield
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait(30)


def cpus(hosts):
    """CPUs of the cluster, as `ray status` tells on the head."""
    status = hosts.run("ray", "exec", FILE, "ray status", capture_output=True, timeout=120)
    found = re.search(r"/(\d+)\.0 CPU", status.stdout)
    return int(found[1]) if found else 0


def wait_for_cpus(hosts, wanted):
    deadline = time.monotonic() + 300
    while (seen := cpus(hosts)) < wanted:
        assert time.monotonic() < deadline, f"{seen} CPUs of {wanted}: a worker did not come"
        time.sleep(5)


def test_a_grid_runs_on_hosts_that_ray_up_made_a_cluster_of(hosts, tiny):
    (hosts.home / "onprem.yaml").write_text(edited((REPOSITORY / "clusters" / "onprem.yaml").read_text()))
    shared = hosts.folder / "mnt" / "shared"
    (shared / "grid.yaml").write_text(json.dumps(tiny.model_dump(mode="json")))

    up = hosts.run(*MAKE, "up", f"FILE={FILE}", "ARGS=--yes", capture_output=True, timeout=400)
    assert up.returncode == 0, up.stdout + up.stderr
    for name in ("client", "host0"):
        token = hosts.folder / name / "home" / ".ray" / "auth_token"
        assert token.stat().st_mode & 0o077 == 0
    wait_for_cpus(hosts, 2 * os.cpu_count())

    with forwarded_dashboard(hosts):
        submit = (*MAKE, "submit", "ARGS=--spec /mnt/shared/grid.yaml")
        done = hosts.run(*submit, capture_output=True, timeout=400)
        stranger = hosts.run("env", "RAY_AUTH_MODE=disabled", *submit, capture_output=True, timeout=100)
    assert "succeeded" in done.stdout, done.stdout + done.stderr
    assert Store(str(shared / "unlearn-grid")).finished() == make_plan(tiny).nodes.keys()
    assert stranger.returncode != 0
    assert "Missing authentication token" in stranger.stdout + stranger.stderr

    down = hosts.run("ray", "down", "-y", FILE, capture_output=True, timeout=200)
    assert "No nodes remaining" in down.stdout, down.stdout + down.stderr
    assert worked_on(hosts, "host0")
    assert worked_on(hosts, "host1")


def worked_on(hosts, name):
    """Whether a worker of the job ran on a host, by what Ray writes first in a worker's log."""
    logs = (hosts.folder / name / "tmp" / "ray").glob("session_2*/logs/worker-*.out")
    return any(":actor_name:" in file.read_text() for file in logs)
