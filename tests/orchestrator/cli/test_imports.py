"""Commands that do not train start without what training, tables and tracking load."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.grid import SCRIPT
from orchestrator.results.known_grids import remember
from tasks.store.store import Store
from tests.orchestrator.fake_results import Fake, small_spec

HEAVY = ("torch", "torchvision", "pandas", "mlflow")
ROOT = Path(__file__).parents[3]
# what a command leaves in `sys.modules`, told after all that it prints
WATCHED = f"""
import atexit, json, sys
atexit.register(lambda: print("\\n" + json.dumps([name for name in {HEAVY} if name in sys.modules])))
"""
COMMAND = f"sys.argv[0] = {SCRIPT!r}; from orchestrator.grid import main; sys.exit(main(sys.argv[1:]))"
# all of `ui` but the server, which is MLflow's own process
PAGES = """
from orchestrator.cli import open_grid
from orchestrator.cli import ui
from orchestrator.tracking import tracking_uri
spec, store = open_grid("ui", None, None, [sys.argv[2]], sys.argv[1])
print(ui._pages(tracking_uri(spec, store), spec, store, "http://127.0.0.1:5000"))
"""
LOADING = "from orchestrator import load_results; assert len(load_results(sys.argv[1])) > 20"


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Store:
    """A small finished grid, and the spec that it came from."""
    fake = Fake(Store(str(tmp_path_factory.mktemp("finished"))), small_spec())
    fake.fill()
    remember(fake.store, fake.spec, fake.plan)
    return fake.store


def loaded(code: str, *arguments: str, **environment: str) -> tuple[list[str], str]:
    """Which of the heavy modules a fresh process has at its end, and what it printed before; it has to succeed."""
    command = [sys.executable, "-c", WATCHED + code, *arguments]
    surroundings = {**os.environ, **environment}
    done = subprocess.run(command, cwd=ROOT, env=surroundings, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    *said, last = done.stdout.splitlines()
    return json.loads(last), "\n".join(said)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["plan", "--recipe", "full"], "2,940"),
        (["plan", "--store"], "small"),
        (["status", "--store"], "done"),
        (["status", "--json", "--store"], '"state": "done"'),
        (["compact", "--store"], "rows in one file"),
        (["report", "--charts", "--store"], "charts in"),
        (["--help"], "--recipe"),
    ],
    ids=" ".join,
)
def test_a_command_that_does_not_train_loads_no_torch_pandas_or_mlflow(arguments, words, store):
    found, said = loaded(COMMAND, *arguments, *([store.uri] if arguments[-1] == "--store" else []))
    assert found == []
    assert words in said


def test_results_are_loaded_without_torch_pandas_or_mlflow(store):
    found, _ = loaded(LOADING, store.uri)
    assert found == []


def test_a_shell_completes_without_torch_pandas_or_mlflow(tmp_path):
    words = {"COMP_WORDS": f"{SCRIPT} plan --set archs=res", "COMP_CWORD": "3"}
    completing = {f"_{SCRIPT.upper().replace('-', '_')}_COMPLETE": "complete_bash"}
    found, said = loaded(COMMAND, **words, **completing, XDG_CACHE_HOME=str(tmp_path))
    assert found == []
    assert "archs=resnet18" in said


def test_mlflow_is_brought_up_to_date_and_shown_without_torch(store, tmp_path):
    tracking = f"tracking.uri=sqlite:///{tmp_path}/mlflow.db"
    found, said = loaded(COMMAND, "sync", "--store", store.uri, "--set", tracking)
    assert "runs written" in said
    assert {"torch", "torchvision"}.isdisjoint(found)
    shown, pages = loaded(PAGES, store.uri, tracking)
    assert "compare" in pages
    assert {"torch", "torchvision"}.isdisjoint(shown)
