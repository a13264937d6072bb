"""The command line in an interpreter that lacks its packages: one line that says which, where, and what to do."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator import grid

ROOT = Path(__file__).parents[2]


def bare(*arguments):
    """Without any package but the standard library's, as a head whose python is not the environment's."""
    outside = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, "-S", *arguments]
    return subprocess.run(command, cwd=ROOT, env=outside, capture_output=True, text=True)


@pytest.mark.parametrize("arguments", [("plan",), ("--recipe", "digits"), ("--help",)])
def test_a_bare_interpreter_is_told_in_one_line_what_to_do(arguments):
    done = bare("-m", "orchestrator.grid", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"error: {sys.executable} (Python {sys.version.split()[0]}): no module '")
    assert "--runtime-env-json" in line
    assert "PATH=/path/to/.venv/bin:$PATH ray start" in line


def test_a_program_that_imports_the_project_gets_pythons_own_error():
    done = bare("-c", "import orchestrator")
    assert done.returncode == 1
    assert "ModuleNotFoundError" in done.stderr


def test_a_package_that_is_missing_later_is_one_line_too(monkeypatch, capsys):
    def verb(*_arguments):
        raise ModuleNotFoundError("No module named 'altair'", name="altair")

    monkeypatch.setitem(grid_verbs(), "plan", verb)
    assert grid.main(["plan", "--recipe", "digits"]) == 2
    assert "no module 'altair'" in capsys.readouterr().err


def test_a_mistake_of_ours_keeps_its_traceback(monkeypatch):
    def verb(*_arguments):
        raise ModuleNotFoundError("No module named 'orchestrator.nothing'", name="orchestrator.nothing")

    monkeypatch.setitem(grid_verbs(), "plan", verb)
    with pytest.raises(ModuleNotFoundError):
        grid.main(["plan", "--recipe", "digits"])


def grid_verbs():
    from orchestrator.cli import verbs

    return verbs.VERBS
