"""What a person can hand over that is odd but possible: every answer is one line, none is a traceback."""

import errno
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from core.errors import BadInput
from orchestrator import environment, grid
from orchestrator.cli.standard_output import given_up
from orchestrator.spec import grid_spec, parse_spec, with_overrides

BASE = {"datasets": ["digits"], "archs": ["lenet"], "ratios": [0.1], "methods": ["ft"]}


def refused(call, *arguments):
    with pytest.raises(BadInput) as caught:
        call(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def aliases(levels):
    """YAML that stands for 10 ** levels values."""
    lines = ["a0: &a0 [1,1,1,1,1,1,1,1,1,1]"]
    lines += [f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 10)}]" for n in range(1, levels)]
    return "\n".join(lines).encode()


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"\xff\xfe\xfa", "is not text in UTF-8 (line 1); save it as UTF-8"),
        ("recipe: Grün\n".encode("latin-1"), "is not text in UTF-8 (line 1)"),
        (b"seeds: 1\nrecipe: \xe9\n", "is not text in UTF-8 (line 2)"),
        ("recipe: Grün\n".encode("utf-16-le"), "grid.yaml"),
        (b"a: " + b"[" * 3000 + b"]" * 3000, "is nested too deep to be a grid"),
        (b"- " * 3000, "is nested too deep to be a grid"),
        (b"seeds: 2020-13-45", "holds a value that is none: month must be in 1..12"),
        (b"seeds: " + b"9" * 5000, "holds a value that is none"),
        (aliases(12), "holds more than 100,000 values"),
        (b"\0", "grid.yaml"),
        (b"", "a grid is a mapping of fields, this is NoneType"),
        (b"? [1, 2]\n: 3\n", "grid.yaml"),
    ],
)
def test_a_specification_that_is_none(tmp_path, content, complaint):
    file = tmp_path / "grid.yaml"
    file.write_bytes(content)
    assert complaint in refused(grid_spec, None, file, [])


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_specification_in_any_unicode(tmp_path, encoding):
    file = tmp_path / "grid.yaml"
    file.write_bytes(json.dumps({**BASE, "recipe": "Grün"}, ensure_ascii=False).encode(encoding))
    assert grid_spec(None, file, []).recipe == "Grün"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has a device that never ends")
def test_a_file_without_an_end_is_not_read_to_it():
    assert "is larger than the 1 MiB" in refused(grid_spec, None, Path("/dev/full"), [])
    assert "/dev/full is no file of weights" in refused(with_overrides, BASE, ["weights.lenet=/dev/full"])


def test_a_folder_is_no_specification(tmp_path):
    assert refused(grid_spec, None, tmp_path, []) == (
        f"--spec {tmp_path} is a folder; name the YAML file of a grid"
    )
    assert "cannot be read (No such file" in refused(grid_spec, None, tmp_path / "gone", [])
    assert "cannot be read" in refused(grid_spec, None, Path("a\0b"), [])


@pytest.mark.parametrize(
    ("override", "complaint"),
    [
        (
            "search.trials=1000000",
            "search.trials: input should be less than or equal to 10000 (got '1000000')",
        ),
        ("search.first_epochs=9999999", "search.first_epochs: input should be less than or equal to 1000000"),
        ("search.reduction=1e9", "search.reduction: input should be less than or equal to 1000"),
        ("seeds=4294967296", "seeds.0: input should be less than 4294967296"),
        ("seeds=1-9999999", "'1-9999999' is no span of numbers"),
        ("seeds=3-1", "'3-1' is no span of numbers; write the smaller first"),
        ("seeds=-1", "seeds.0: input should be greater than or equal to 0"),
        ("probe=1e12", "probe: input should be less than or equal to 1000000000"),
        ("widths.lenet=1e6", "widths.lenet: input should be less than or equal to 100"),
        ("resources.threads=100000", "resources.threads: input should be less than or equal to 1000"),
        ("resources.slots=1e9", "resources.slots: input should be less than or equal to 100000"),
        (
            "resources.gpus_per_slot=1e9",
            "resources.gpus_per_slot: input should be less than or equal to 1000",
        ),
        ("data.limit=1000000000000", "data.limit.train: input should be less than or equal to 1000000000"),
        ("data.test_share=1", "data.test_share: input should be less than 1 (got '1')"),
        ('data.root="a\\u0000b"', "data.root: 'a\\x00b' holds a sign that no name or path can have"),
        ('archs="\\ud800"', "archs.0: '\\ud800' holds a sign"),
        ('tracking.uri="\\ud800"', "tracking.uri: '\\ud800' holds a sign"),
        ('datasets="folder:a\\u0000b"', "datasets.0: 'folder:a\\x00b' holds a sign"),
        ("seeds=" + "[" * 5000, "seeds.0: input should be a valid integer"),
        (
            "search.trials=" + "9" * 5000,
            "search.trials: unable to parse input string as an integer, exceeded maximum size",
        ),
    ],
)
def test_a_number_or_name_that_cannot_be_meant(override, complaint):
    assert complaint in refused(with_overrides, BASE, [override])


def test_a_grid_that_nobody_could_run_is_not_planned():
    message = refused(with_overrides, BASE, ["search.trials=10000", "seeds=1-101"])
    assert message.startswith(
        "the grid has 1,010,000 trials, at most 1,000,000 can be planned: search.trials=10000"
    )


@pytest.mark.parametrize("text", ["1-3", "1..3", "1,2-3", "1, 2..3", "[1, 2, 3]", '["1-2", 3]'])
def test_spans_of_seeds_mean_what_they_say(text):
    assert with_overrides(BASE, [f"seeds={text}"]).seeds == (1, 2, 3)
    assert with_overrides({**BASE, "ratios": []}, [f"classes={text}"]).classes == (1, 2, 3)
    assert parse_spec({**BASE, "seeds": "1-3"}).seeds == (1, 2, 3)


@pytest.mark.parametrize(
    ("overrides", "field"),
    [
        (["params.ft.lr=-1"], "params.ft: lr"),
        (["params.all.lr=-1"], "params.all: lr"),
        (["params.all.batch_size=8", "params.ft.lr=-1"], "params.ft: lr"),
        (["params.all.lr=-1", "params.ft.batch_size=8"], "params.all: lr"),
        (["params.all.batch_size=8", "methods=ft:lr=-1"], "'ft:lr=-1': lr"),
    ],
)
def test_an_error_names_the_field_that_was_given(overrides, field):
    assert f"{field}: input should be greater than 0" in refused(with_overrides, BASE, overrides)


PLAN = [sys.executable, "-m", "orchestrator.grid", "plan", "--recipe", "digits"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has a device that is always full")
def test_a_full_standard_output_is_one_line():
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(PLAN, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == "error: standard output cannot be written (No space left on device)\n"


def test_a_reader_that_had_enough_is_no_error():
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run([*PLAN, "--json"], stdout=write, stderr=subprocess.PIPE, text=True, check=False)
    os.close(write)
    assert (done.returncode, done.stderr) == (141, "")


def test_a_closed_standard_output_changes_nothing():
    command = f"exec {' '.join(PLAN)} >&- 2>&-"
    assert subprocess.run(["sh", "-c", command], check=False).returncode == 0


def test_another_error_of_the_system_is_not_taken_for_standard_outputs():
    def fails():
        raise OSError(errno.ENOSPC, "the store's disk")

    with pytest.raises(OSError, match="the store's disk"):
        grid.exit_code(fails)


def test_what_breaks_is_said_only_where_it_matters(capsys, monkeypatch):
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    assert given_up(OSError(errno.EPIPE, "Broken pipe")) == 141
    assert given_up(OSError(errno.EIO, "Input/output error")) == 2
    assert capsys.readouterr().err == "error: standard output cannot be written (Input/output error)\n"


class TestWhereRayKeepsItsSockets:
    @pytest.fixture
    def variables(self, monkeypatch, tmp_path):
        def are(**values):
            for name in ("RAY_TMPDIR", "TMPDIR"):
                monkeypatch.delenv(name, raising=False)
            for name, value in values.items():
                monkeypatch.setenv(name, value)

        monkeypatch.setattr(environment, "_SHORT", (str(tmp_path / "file"), "/tmp"))
        (tmp_path / "file").touch()
        return are

    @pytest.mark.parametrize("values", [{}, {"TMPDIR": "/tmp"}, {"RAY_TMPDIR": "/tmp"}])
    def test_a_short_folder_is_left_as_it_is(self, variables, values):
        variables(**values)
        environment.make_room_for_ray()
        assert {name: os.environ[name] for name in ("RAY_TMPDIR", "TMPDIR") if name in os.environ} == values

    def test_a_long_folder_of_a_scheduler_gives_way_to_a_short_one(self, variables, tmp_path):
        variables(TMPDIR=str(tmp_path / ("x" * environment.LONGEST_FOLDER)))
        environment.make_room_for_ray()
        folder = os.environ["TMPDIR"]
        assert folder.startswith("/tmp/ug-")
        assert Path(folder).is_dir()
        socket = "/ray/session_2026-01-01_00-00-00_000000_0000000/sockets/plasma_store"
        assert len(folder + socket) <= 107

    def test_what_somebody_chose_for_ray_serves_its_processes_too(self, variables, tmp_path):
        variables(RAY_TMPDIR="/tmp", TMPDIR=str(tmp_path / ("x" * environment.LONGEST_FOLDER)))
        environment.make_room_for_ray()
        assert os.environ["TMPDIR"] == "/tmp"

    @pytest.mark.parametrize(
        ("folder", "fault"),
        [("/" + "x" * 60, "is longer than the"), ("/dev/null/x", "cannot be written (Not a dir")],
    )
    def test_what_somebody_chose_for_ray_is_refused_by_name(self, variables, folder, fault):
        variables(RAY_TMPDIR=folder)
        message = refused(environment.make_room_for_ray)
        assert message.startswith(f"RAY_TMPDIR={folder} {fault}")
        assert message.endswith("set it to a short path with room, such as /var/tmp")

    def test_where_nothing_can_be_written_the_variable_is_named(self, variables, monkeypatch, tmp_path):
        monkeypatch.setattr(environment, "_SHORT", (str(tmp_path / "file"),))
        variables(TMPDIR="/dev/null/x")
        assert refused(environment.make_room_for_ray) == (
            "Ray finds no temporary folder (/dev/null/x cannot be written (Not a directory)): "
            "set RAY_TMPDIR to a short path with room"
        )
