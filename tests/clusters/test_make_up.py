"""`make up` on files that are not ready: one line that says what is missing, exit code 2, nothing started."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from core.errors import BadInput
from orchestrator.cluster_file import check, main

REPOSITORY = Path(__file__).parents[2]


def test_the_lines_to_edit_are_named(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text(
        "# at EDIT_, edit\nprovider:\n  head_ip: EDIT_192.0.2.1\nsetup_commands:\n  - A=EDIT_x B=EDIT_y\n  - EDIT_\n"
    )
    with pytest.raises(BadInput, match=r"begin with EDIT_, in line 3 \(head_ip\), 5 \(A, B\), 6$"):
        check(file)


def test_an_edited_file_passes_and_a_comment_may_speak_of_the_mark(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("# at EDIT_, edit\nhead_ip: 192.0.2.1 # was EDIT_\n")
    check(file)
    assert main([str(file)]) == 0


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ([], "which cluster file? make up FILE="),
        (["nowhere.yaml"], "cluster file nowhere.yaml: No such file or directory"),
        (["clusters"], "cluster file clusters: Is a directory"),
    ],
)
def test_no_file_is_one_line(arguments, why, capsys):
    assert main(arguments) == 2
    assert capsys.readouterr().err.startswith(f"error: {why}")


def test_a_file_that_is_no_text_is_one_line(tmp_path, capsys):
    (tmp_path / "image.yaml").write_bytes(b"\x89PNG\xff")
    assert main([str(tmp_path / "image.yaml")]) == 2
    assert capsys.readouterr().err.endswith("image.yaml: is no text\n")


@pytest.mark.parametrize("name", sorted(f.name for f in (REPOSITORY / "clusters").glob("*.yaml")))
def test_make_up_starts_nothing_from_a_shipped_file(name, tmp_path):
    fake = tmp_path / "bin"
    fake.mkdir()
    (fake / "python").symlink_to(sys.executable)
    (fake / "ray").write_text("#!/bin/sh\ntouch started\n")
    (fake / "ray").chmod(0o755)
    command = ["make", "-s", "-o", ".venv/ready", "up", f"FILE=clusters/{name}", f"BIN={fake}"]
    outside = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    environment = outside | {"PYTHONPATH": os.pathsep.join(sys.path)}  # no part of a `make test` around it
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, env=environment)
    assert done.returncode == 2
    (line,) = [line for line in done.stderr.splitlines() if not line.startswith("make: ***")]
    assert line.startswith(f"error: cluster file clusters/{name}: put your values in the place of those")
    assert not (REPOSITORY / "started").exists()


@pytest.mark.parametrize("name", sorted(f.name for f in (REPOSITORY / "clusters").glob("*.yaml")))
def test_the_readme_explains_every_field_to_edit(name):
    readme = (REPOSITORY / "clusters" / "README.md").read_text()
    with pytest.raises(BadInput) as refused:
        check(REPOSITORY / "clusters" / name)
    fields = [name for names in re.findall(r"\(([^)]+)\)", str(refused.value)) for name in names.split(", ")]
    assert fields
    assert [field for field in fields if f"`{field}`" not in readme] == []
