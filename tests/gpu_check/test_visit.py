"""A visit to a bare machine: nothing but torch and its like, killed, resumed, carried home and brought back."""

import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from orchestrator.grid import main
from tasks.store.store import Store
from tests.gpu_check import __main__ as command, bundle, stages
from tests.gpu_check.ledger import ROOT
from tests.gpu_check.stages import Stage, Visit
from tests.orchestrator.grid_command import rows

HIDDEN = ("ray", "mlflow", "polars", "optuna")
CARRIED = (
    "pydantic",
    "pydantic_core",
    "annotated_types",
    "typing_inspection",
    "yaml",
    "_yaml",
    "platformdirs",
)
HOOK = f"""
import os
from importlib.machinery import PathFinder

everything = PathFinder.find_spec


def bare(name, path=None, target=None):
    if name in {HIDDEN}:
        return None
    return everything(name, [os.path.join(os.getcwd(), ".gpu", "python")] if name in {CARRIED} else path, target)


PathFinder.find_spec = staticmethod(bare)
"""
GRID = (
    "methods=retrain,ft,ga", "original.epochs=3", "retrain.epochs=3", "params.ft.epochs=1", "params.ga.epochs=1",
    "data.limit=120", "search.trials=3", "resources.evaluators=1",
    "ratios=0.1", "classes=[]", "seeds=1",
)  # fmt: skip


@pytest.fixture
def machine(tmp_path):
    """A copy of the repository as it would be there; returns how to call the visit in it."""
    copy = tmp_path / "copy"
    for folder in ("core", "tasks", "orchestrator", "tests"):
        shutil.copytree(ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "hook").mkdir()
    (tmp_path / "hook" / "sitecustomize.py").write_text(HOOK)
    settings = [word for setting in GRID for word in ("--set", setting)]
    base = [sys.executable, "-m", "tests.gpu_check", "--device", "cpu", "--quick", "--recipe", "digits"]

    def start(*arguments):
        return subprocess.Popen(
            [*base, *settings, *arguments],
            cwd=copy,
            env=os.environ | {"PYTHONPATH": str(tmp_path / "hook"), "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    start.folder = copy
    return start


def carry(folder):
    """What `make gpu-bundle` brings, from the packages that are installed here."""
    folder.mkdir(parents=True)
    for name in CARRIED:
        origin = importlib.util.find_spec(name).origin
        shutil.copytree(Path(origin).parent, folder / name, ignore=shutil.ignore_patterns("__pycache__"))


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.skipif(os.name != "posix", reason="kills a process group")
def test_a_killed_visit_goes_on_and_what_it_takes_home_is_enough(machine, tmp_path):
    missing, _ = machine("--budget", "4m").communicate()
    assert "error: missing here: yaml, pydantic, platformdirs" in missing.replace("\n", " ")
    carry(machine.folder / ".gpu" / "python")

    store = Store(str(machine.folder / "runs" / "gpu-check" / "store"))
    first = machine("--budget", "4m")
    deadline = time.monotonic() + 240
    while len(store.names("manifests")) < 4 and time.monotonic() < deadline:
        time.sleep(0.02)
    os.killpg(first.pid, signal.SIGKILL)
    first.communicate()
    done = store.finished()
    assert len(done) >= 4

    second, home = machine("--budget", "4m", "--take", str(tmp_path / "home")), tmp_path / "home"
    said, _ = second.communicate()
    assert second.returncode == 0, said
    whole = store.finished()
    assert f"{len(whole) - len(done)} nodes computed" in said
    assert "training_step took" not in said  # the first visit had it done

    third = machine("--budget", "4m", "--from", str(home), "--out", str(tmp_path / "elsewhere"))
    said, _ = third.communicate()
    assert third.returncode == 0, said
    assert "nothing left to compute" in said

    here = [setting for setting in GRID if "evaluators" not in setting]
    plain = [word for setting in (*here, "tracking.enabled=false") for word in ("--set", setting)]
    undisturbed = ["run", "--executor", "inline", "--recipe", "digits", "--store", str(tmp_path / "plain")]
    assert main([*undisturbed, *plain]) == 0
    assert rows(tmp_path / "elsewhere" / "store") == rows(tmp_path / "plain")


@pytest.mark.slow
def test_a_stage_ends_with_the_visit_that_started_it(tmp_path):
    child = "tests.gpu_check.tied", "http.server", "--bind", "127.0.0.1", "0"
    code = f"""
import subprocess, sys, time
process = subprocess.Popen([sys.executable, "-m", *{child}], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL)
print(process.pid, flush=True)
time.sleep(600)
"""
    visit = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    pid = int(visit.stdout.readline())
    time.sleep(1)
    os.kill(pid, 0)
    visit.kill()
    visit.communicate()
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        if Path(f"/proc/{pid}/stat").exists() and " Z " in Path(f"/proc/{pid}/stat").read_text():
            return
        time.sleep(0.1)
    pytest.fail("it outlived its visit")


def test_stages_go_from_short_to_long_and_table_1_one_ratio_after_the_other(tmp_path):
    found = stages.stages(Visit(tmp_path, tmp_path / "data", "cuda"))
    assert [stage.name for stage in found] == ["parity", "benchmarks", "grid", "grid", "grid"]
    first = found[2].arguments
    assert first[:6] == ["orchestrator.grid", "run", "--executor", "inline", "--recipe", "table1"]
    for setting in ("datasets=cifar10", "ratios=0.1", "keep=all", "resources.device=cuda"):
        assert setting in first
    assert "--allow-cpu" not in first
    assert "ratios=0.1,0.3,0.5" in found[4].arguments


def test_a_stage_whose_time_is_up_is_no_failure(monkeypatch, tmp_path):
    monkeypatch.setattr(stages, "GRACE", 0.5)
    ticks = []
    slow = Stage("grid", 1.0, ["http.server", "--bind", "127.0.0.1", "0"])
    assert stages.run(slow, time.monotonic() + 6, lambda: ticks.append(1)) is None
    assert ticks


def test_stages_get_their_share_and_the_worst_code_is_the_visits(monkeypatch, tmp_path, capsys):
    limits, codes = [], iter([1, 0, None])

    def run(stage, until, _tick):
        limits.append(until)
        return next(codes)

    monkeypatch.setattr(command, "run", run)
    now = time.monotonic()
    todo = [
        Stage("parity", 0.2, []),
        Stage("benchmarks", 0.4, []),
        Stage("grid", 1.0, []),
        Stage("grid", 1.0, []),
    ]
    assert command._visit(todo, tmp_path, None, now, now + 1000) == 1
    assert [round(limit - now) for limit in limits] == [200, 400, 1000]
    assert "grid: time is up" in capsys.readouterr().out


def test_the_bundle_takes_its_versions_from_the_lock(tmp_path):
    lock = (ROOT / "requirements.lock").read_text()
    entries = bundle.locked(bundle.NAMES, lock)
    assert entries.count("==") == len(bundle.NAMES)
    assert all(line.startswith((" ", *bundle.NAMES)) for line in entries.splitlines())
    with pytest.raises(KeyError):
        bundle.locked(["no-such-package"], lock)


def test_the_bundle_takes_cifar10_and_no_other_data(tmp_path):
    root, to = tmp_path / "root", tmp_path / "to"
    for name in ("cifar10/train-0.parquet", "cifar100/train-0.parquet", "cifar-10-batches-py/data_batch_1"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    to.mkdir()
    bundle.take_data(root, to)
    assert sorted(path.name for path in to.iterdir()) == ["cifar-10-batches-py", "cifar10"]
    with pytest.raises(SystemExit, match="no cifar10"):
        bundle.take_data(to / "cifar10", to)


@pytest.mark.skipif(shutil.which("make") is None, reason="asks make")
def test_make_passes_everything_on():
    given = ["BUDGET=9m", "OUT=a b", "FROM=c", "TAKE=d", "DATA=e", "PYTHON=python", "ARGS=--device cpu"]
    said = subprocess.run(["make", "-n", "gpu-check", *given], cwd=ROOT, capture_output=True, text=True)
    expected = '-m tests.gpu_check --budget 9m --out "a b" --data "e" --from "c" --take "d" --device cpu'
    assert expected in " ".join(said.stdout.replace("\\\n", " ").split())


def test_benchmarks_are_those_of_the_device_and_are_not_repeated(tmp_path, monkeypatch, capsys):
    from tests.bench.measure import QUICK
    from tests.gpu_check import benchmarks

    assert "training_step" in benchmarks.NAMES
    assert set(benchmarks.ELSEWHERE).isdisjoint(benchmarks.NAMES)
    benchmarks.measure(tmp_path, QUICK, ["loader"])
    benchmarks.measure(tmp_path, QUICK, ["loader"])
    assert capsys.readouterr().out.count("loader took") == 1
    document = json.loads((tmp_path / benchmarks.PAGES / "results.json").read_text())
    assert document["comparisons"][0]["benchmark"] == "loader"
    kept = json.loads((tmp_path / benchmarks.RESULTS).read_text())["entries"]["loader"]["comparisons"]
    assert document["comparisons"] == kept
