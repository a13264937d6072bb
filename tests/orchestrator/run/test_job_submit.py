"""`make submit` and `ray job`: on a head of its own, with token authentication, from this working folder."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from orchestrator.plan.grid_plan import make_plan
from tasks.store.store import Store
from tests.orchestrator.grid_command import write_spec

pytestmark = [pytest.mark.slow, pytest.mark.ray, pytest.mark.timeout(600)]
REPOSITORY = Path(__file__).parents[3]
BIN = Path(sys.executable).parent


class Head:
    """A running head: where its dashboard answers, and the environment of a client that knows its token."""

    def __init__(self, dashboard: int, environment: dict[str, str]) -> None:
        self.address, self.environment = f"http://127.0.0.1:{dashboard}", environment

    def run(self, *command: object, **changes: str) -> subprocess.CompletedProcess[str]:
        """A command of a client; changes: of its environment."""
        words = [str(c) for c in command]
        return subprocess.run(
            words, env=self.environment | changes, capture_output=True, text=True, timeout=400
        )

    def submit(self, *arguments: object, **changes: str) -> subprocess.CompletedProcess[str]:
        """`make submit`, followed to its end."""
        make = [
            "make",
            "-C",
            REPOSITORY,
            "-o",
            ".venv/ready",
            "submit",
            f"BIN={BIN}",
            f"ADDRESS={self.address}",
        ]
        return self.run(*make, f"ARGS={' '.join(map(str, arguments))}", **changes)

    def job(self, verb: str, *arguments: object) -> str:
        """What `ray job VERB` prints."""
        done = self.run(BIN / "ray", "job", verb, "--address", self.address, *arguments)
        return done.stdout + done.stderr

    def start(self, *arguments: object) -> str:
        """A job that nobody follows; returns its id."""
        entry = [sys.executable, "-m", "orchestrator.grid", *arguments]
        said = self.job("submit", "--no-wait", "--working-dir", REPOSITORY, "--", *entry)
        found = re.search(r"raysubmit_\w+", said)
        assert found, said
        return found[0]

    def driver(self, job: str) -> int:
        """The process id of a job's driver."""
        token = Path(self.environment["HOME"], ".ray", "auth_token").read_text()
        request = urllib.request.Request(
            f"{self.address}/api/jobs/{job}", headers={"Authorization": f"Bearer {token}"}
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            return int(json.load(answer)["driver_info"]["pid"])

    def wait(self, job: str, status: str) -> None:
        """Until a job has a status."""
        await_(lambda: status in self.job("status", job), f"job {job} {status}", 300)


def await_(true, what, seconds):
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"not in {seconds} s: {what}"
        time.sleep(0.2)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@pytest.fixture(scope="module")
def head(tmp_path_factory, private_surroundings):
    """A Ray head with private ports, folder, home and token; ended by its process group."""
    home, session = tmp_path_factory.mktemp("ray"), tempfile.mkdtemp(prefix="ug", dir="/tmp")
    environment = os.environ | {
        "RAY_AUTH_MODE": "token",
        "HOME": str(home),
        "RAY_JOB_STOP_WAIT_TIME_S": "600",
    }
    # jobs run with the interpreter of these tests, as on a cluster they run with the one that started Ray
    environment["PATH"] = f"{BIN}:{environment['PATH']}"
    subprocess.run(
        [BIN / "ray", "get-auth-token", "--generate"], env=environment, check=True, capture_output=True
    )
    dashboard = free_port()
    ports = [f"--port={free_port()}", f"--dashboard-port={dashboard}", "--dashboard-host=127.0.0.1"]
    ports += [f"--dashboard-agent-listen-port={free_port()}", f"--temp-dir={session}"]
    command = [BIN / "ray", "start", "--head", "--block", "--num-cpus=2", *ports]
    process = subprocess.Popen(command, env=environment, start_new_session=True, stdout=subprocess.DEVNULL)
    started = Head(dashboard, environment)
    try:
        assert status_without_token(started.address) == 401
        yield started
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(60)
        shutil.rmtree(session, ignore_errors=True)


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


@pytest.fixture
def longer(tiny):
    """A grid of dozens of short trials: time enough to end it halfway."""
    params = {name: {"epochs": 6, "batch_size": 32} for name in ("ft", "ga", "qmul")}
    search = tiny.search.model_copy(update={"trials": 10})
    return tiny.model_copy(update={"params": params, "search": search})


class Parts:
    """The rows of a store at one moment, to see later which were written again."""

    def __init__(self, store: Store) -> None:
        self.folder = Path(store.uri, "parts")
        self.written = {file.name: file.stat().st_mtime_ns for file in self.folder.iterdir()}

    def unchanged(self) -> bool:
        """Whether every row of that moment is still the same file."""
        return all((self.folder / name).stat().st_mtime_ns == at for name, at in self.written.items())


def run_halfway(head, spec_file, spec, folder):
    """A job that has finished a few of its nodes; returns its id and its store."""
    store = Store(str(folder))
    job = head.start("--spec", spec_file, "--store", folder)
    await_(lambda: len(store.finished()) >= 5, "five nodes finished", 120)
    assert len(store.finished()) < len(make_plan(spec).nodes)
    return job, store


def test_a_submitted_grid_runs_where_its_store_survives(head, tiny, tmp_path):
    spec = write_spec(tmp_path, tiny)
    done = head.submit("--spec", spec)
    assert "succeeded" in done.stdout, done.stdout + done.stderr
    store = Store(str(Path(head.environment["HOME"]) / "unlearn-grid" / tiny.recipe))
    assert store.finished() == make_plan(tiny).nodes.keys()
    again = head.submit("--spec", spec)
    assert "nothing left to compute" in again.stdout


def test_the_bare_command_is_the_whole_paper_and_asks_for_gpus(head):
    done = head.submit()
    assert done.returncode != 0
    assert "recipe full is made for GPUs and the cluster shows none" in done.stdout + done.stderr


def test_a_store_of_the_working_folder_is_refused(head, tiny, tmp_path):
    done = head.submit("--spec", write_spec(tmp_path, tiny), "--store", "runs/here")
    assert done.returncode != 0
    assert "error: store 'runs/here' is relative to a folder that vanishes" in done.stdout


def test_a_stopped_job_drains_and_another_goes_on(head, longer, tmp_path):
    spec = write_spec(tmp_path, longer)
    job, store = run_halfway(head, spec, longer, tmp_path / "store")
    said = head.job("stop", job)
    assert "was stopped" in said
    # asked again: following a job that ends, Ray may close its stream before the last lines
    last = "left: the same command goes on from here"
    await_(lambda: last in head.job("logs", job), "the job's last words", 60)
    assert "stopping: waiting for" in head.job("logs", job)
    assert (tmp_path / "store" / "report" / "index.html").exists()
    assert not store.failures()
    before = Parts(store)
    done = head.submit("--spec", spec, "--store", store.uri)
    assert "succeeded" in done.stdout, done.stdout + done.stderr
    assert store.finished() == make_plan(longer).nodes.keys()
    assert before.unchanged()


def test_a_killed_driver_is_a_failed_job_and_submitting_again_goes_on(head, longer, tmp_path):
    spec = write_spec(tmp_path, longer)
    job, store = run_halfway(head, spec, longer, tmp_path / "store")
    os.kill(head.driver(job), signal.SIGKILL)
    head.wait(job, "failed")
    before = Parts(store)
    done = head.submit("--spec", spec, "--store", store.uri)
    assert "succeeded" in done.stdout, done.stdout + done.stderr
    assert store.finished() == make_plan(longer).nodes.keys()
    assert before.unchanged()


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"RAY_AUTH_MODE": "disabled"}, "RAY_AUTH_MODE is currently 'disabled'"),
        ({"RAY_AUTH_TOKEN": "0" * 64}, "Invalid authentication token"),
    ],
)
def test_a_stranger_submits_nothing(head, changes, expected):
    done = head.submit("--recipe", "digits", **changes)
    assert done.returncode != 0
    assert expected in done.stdout + done.stderr
