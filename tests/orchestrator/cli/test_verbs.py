"""What every verb owes its caller: JSON alone on stdout, any encoding, one line for a store it cannot use."""

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from core.seal import unsealed
from orchestrator import grid
from orchestrator.cli import help as manual
from orchestrator.cli.verbs import VERBS
from orchestrator.plan.grid_plan import make_plan
from orchestrator.results import known_grids
from orchestrator.results.reading import load_results
from tasks.record import SCHEMA_VERSION, Newer
from tasks.store.store import Store
from tests.orchestrator.fake_results import Fake, small_spec

READING = sorted(VERBS.keys() - {"run", "plan"})  # a store without a grid is nothing to them
SERVING = {"ui"}  # does not end by itself
NEEDED = {"sync": ["--set", "tracking.uri=sqlite:///mlflow.db"], "export": ["--method=qmul", "--out=q.onnx"]}


@pytest.fixture(autouse=True)
def in_a_new_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(Path.cwd()))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def store(finished_store, tmp_path) -> str:
    """A copy of a real store, so that verbs may write to it."""
    return str(shutil.copytree(finished_store, tmp_path / "runs" / "digits"))


def complaint(capsys, *arguments):
    """The one line of a refused command."""
    assert grid.main(list(arguments)) == 2
    captured = capsys.readouterr()
    lines = captured.err.strip().splitlines()
    assert captured.out == ""
    assert len(lines) == 1
    return lines[0]


@pytest.mark.parametrize("verb", sorted(VERBS.keys() - SERVING))
def test_json_is_all_that_a_verb_prints(verb, store, capsys):
    needed = NEEDED.get(verb, [])
    assert grid.main([verb, "--store", store, "--executor", "inline", "--json", *needed]) == 0
    assert isinstance(json.loads(capsys.readouterr().out), dict)


def test_json_is_all_that_an_unfinished_grid_prints_while_warnings_go_elsewhere(store, capsys):
    more = ["--set", "methods=retrain,ft"]
    assert grid.main(["run", "--store", store, "--executor", "inline", "--json", *more]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["computed"] == 0
    assert "this store held grid digits before, with 2 cells that this one has not" in " ".join(
        captured.err.split()
    )


OTHERS = [pytest.param(name, marks=pytest.mark.slow) for name in ("latin-1", "utf-8")]


@pytest.mark.parametrize("encoding", ["ascii", *OTHERS])
@pytest.mark.parametrize("verb", ["plan", "status", "report", "run", "--help"])
def test_no_encoding_is_too_poor(verb, encoding, store):
    environment = os.environ | {"PYTHONIOENCODING": encoding}
    command = [sys.executable, "-m", "orchestrator.grid", verb, "--store", store, "--executor", "inline"]
    done = subprocess.run(command, capture_output=True, env=environment)
    assert done.returncode == 0, done.stderr.decode()
    text = done.stdout.decode(encoding)
    assert "\x1b" not in text
    if verb != "--help":
        assert "Q-MUL" in text or "grid digits: done" in text


@pytest.mark.parametrize("verb", READING)
@pytest.mark.parametrize("what", ["missing", "empty", "something else"])
def test_a_store_without_a_grid_is_one_line_that_says_what_to_do(verb, what, tmp_path, capsys):
    folder = tmp_path / "s"
    if what != "missing":
        folder.mkdir()
    if what == "something else":
        (folder / "notes.txt").write_text("")
    line = complaint(capsys, verb, "--store", str(folder))
    assert f"no grid in {folder}" in line
    assert "name a store with --store" in line


def filled(folder, **changes) -> Fake:
    fake = Fake(Store(str(folder)), small_spec(tracking={"enabled": False}, **changes))
    known_grids.remember(fake.store, fake.spec, fake.plan)
    fake.fill()
    return fake


def newer_rows(store: Store, key: str) -> None:
    manifest = unsealed(store.get(f"manifests/{key}.json"))
    manifest["record"] |= {"schema_version": SCHEMA_VERSION + 1, "colour": "red"}
    store.put(f"manifests/{key}.json", json.dumps(manifest).encode())


def newer_parts(store: Store, key: str) -> None:
    import io

    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pq.read_table(io.BytesIO(store.get(f"parts/{key}.parquet")))
    at = table.schema.get_field_index("schema_version")
    table = table.set_column(at, "schema_version", pa.array([SCHEMA_VERSION + 1]))
    at = table.schema.get_field_index("seed")
    table = table.set_column(at, "seed", pa.array(["of another type"]))
    buffer = io.BytesIO()
    pq.write_table(table.replace_schema_metadata(None), buffer)
    store.put(f"parts/{key}.parquet", buffer.getvalue())


def newer_marker(store: Store, key: str) -> None:
    store.put(known_grids.MARKER, json.dumps({"schema_version": SCHEMA_VERSION + 1}).encode())


def newer_failure(store: Store, key: str) -> None:
    row = unsealed(store.get(f"manifests/{key}.json"))["record"]
    row |= {"schema_version": SCHEMA_VERSION + 1, "colour": "red"}
    store.put(f"failures/{key}.json", json.dumps(row).encode())


READERS = {
    newer_marker: sorted(VERBS.keys() - SERVING),
    newer_rows: ["run", "plan"],
    newer_parts: ["status", "report", "compact"],
    newer_failure: ["run", "status"],
}


@pytest.mark.parametrize(
    ("change", "verb"), [(change, verb) for change, verbs in READERS.items() for verb in verbs]
)
def test_a_store_of_a_newer_version_is_left_alone_and_names_both(change, verb, tmp_path, capsys):
    fake = filled(tmp_path / "s")
    key = next(k for k, node in fake.plan.nodes.items() if node.kind == "retrain")
    change(fake.store, key)
    before = {name: fake.store.sizes("").get(name) for name in fake.store.sizes("")}
    line = complaint(capsys, verb, "--store", fake.store.uri, "--executor", "inline")
    assert f"row schema {SCHEMA_VERSION + 1}, this one reads up to {SCHEMA_VERSION}" in line
    assert "update unlearn-grid" in line
    after = fake.store.sizes("")
    assert {k: v for k, v in after.items() if "lease" not in k} == before


def test_rows_of_a_newer_version_are_no_frame_of_ours(tmp_path):
    fake = filled(tmp_path / "s")
    newer_parts(fake.store, next(iter(fake.plan.nodes)))
    with pytest.raises(Newer, match="update unlearn-grid"):
        load_results(fake.store.uri)


@pytest.mark.parametrize("verb", sorted(VERBS.keys() - SERVING))
@pytest.mark.parametrize("content", [b"{", b"[]", b'{"recipe": "x", "a_field_of_tomorrow": 1}'])
def test_a_grid_that_cannot_be_understood_is_one_line(verb, content, tmp_path, capsys):
    fake = filled(tmp_path / "s")
    fake.store.put("spec.json", content)
    line = complaint(capsys, verb, "--store", fake.store.uri)
    assert f"{fake.store.uri}/spec.json" in line
    assert "--recipe or --spec" in line
    if b"tomorrow" in content:
        assert "update unlearn-grid" in line


def test_results_without_a_grid_ask_for_its_name(tmp_path, capsys):
    fake = filled(tmp_path / "s")
    fake.store.remove("spec.json")
    assert "name it with --recipe or --spec" in complaint(capsys, "status", "--store", fake.store.uri)


@pytest.mark.parametrize("verb", ["status", "report"])
def test_a_half_finished_grid_is_shown_and_says_how_to_go_on(verb, tmp_path, capsys):
    fake = Fake(Store(str(tmp_path / "s")), small_spec(tracking={"enabled": False}))
    known_grids.remember(fake.store, fake.spec, fake.plan)
    fake.fill(skip=lambda node: node.inputs.get("method") == "ft")
    assert grid.main([verb, "--store", fake.store.uri]) == 0
    out = capsys.readouterr().out
    assert "python -m orchestrator.grid run --store s" in out
    assert ("4 of 5 rows of the tables are there" in out) == (verb == "report")


class TestTwoGrids:
    def test_the_first_ones_report_can_be_had_again(self, tmp_path, capsys):
        first = filled(tmp_path / "s", methods=("retrain", "ft"))
        second = small_spec(tracking={"enabled": False}, methods=("retrain", "qmul"))
        line = known_grids.remember(first.store, second, make_plan(second))
        assert "this store held grid small before, with 1 cell that this one has not" in line
        arguments = shlex.split(line.partition("python -m orchestrator.grid ")[2])
        assert grid.main(arguments) == 0
        out = capsys.readouterr().out
        assert "\nFT " in out
        assert "Q-MUL" not in out
        assert grid.main(["status", "--store", first.store.uri]) == 0
        assert f"grids/{known_grids.grid_file(first.spec)}" in "".join(
            capsys.readouterr().out.split("\n             ")
        )

    def test_a_store_of_before_keeps_the_grid_it_had(self, tmp_path):
        fake = Fake(Store(str(tmp_path / "s")), small_spec())
        fake.store.put("spec.json", fake.spec.model_dump_json().encode())
        other = small_spec(datasets=("svhn",))
        assert "5 cells" not in known_grids.remember(fake.store, other, make_plan(other))
        assert known_grids.others(fake.store, other) == [f"grids/{known_grids.grid_file(fake.spec)}"]

    def test_a_wider_grid_is_nothing_to_speak_of(self, tmp_path):
        fake = filled(tmp_path / "s", methods=("retrain", "ft"))
        wider = small_spec(tracking={"enabled": False}, methods=("retrain", "ft", "qmul"))
        assert known_grids.remember(fake.store, wider, make_plan(wider)) == ""

    def test_where_a_grid_runs_makes_no_other_grid_of_it(self, tmp_path):
        fake = filled(tmp_path / "s")
        again = fake.spec.model_copy(
            update={"resources": fake.spec.resources.model_copy(update={"slots": 3})}
        )
        assert known_grids.remember(fake.store, again, fake.plan) == ""
        assert known_grids.others(fake.store, again) == []


@pytest.mark.parametrize("arguments", manual.examples())
def test_every_example_of_the_help_is_understood(arguments, store, capsys, tmp_path):
    """As far as a plan, for what would start work or a server; s3:// is a folder here."""
    shutil.copytree(store, tmp_path / "runs" / "other")
    words = shlex.split(arguments.replace("s3://bucket/grid", "runs/digits"))
    if words[0] in VERBS.keys() - {"plan", "status", "report", "compact", "score", "export"}:
        words[0] = "plan"
    code = grid.main(words if words[0] in VERBS else ["plan", *words])
    assert code == 0
    assert capsys.readouterr().out


@pytest.mark.parametrize("verb", ["run", "report", "status"])
@pytest.mark.parametrize("tracked", [True, False])
def test_a_finished_grid_ends_with_three_commands_that_work(verb, tracked, store, capsys, tmp_path):
    spec = unsealed((tmp_path / "runs" / "digits" / "spec.json").read_bytes())
    spec["tracking"]["enabled"] = tracked
    (tmp_path / "runs" / "digits" / "spec.json").write_text(json.dumps(spec))
    uri = f"--set=tracking.uri=sqlite:///{tmp_path}/mlflow.db"
    assert grid.main([verb, "--store", store, "--executor", "inline", uri]) == 0
    lines = capsys.readouterr().out.rpartition("\n\n")[2].splitlines()
    assert len(lines) == 3
    assert {(line[:2], line[12] == " ", line[13] == " ") for line in lines} == {("  ", True, False)}
    commands = [line[13:] for line in lines]
    page = shlex.split(commands[0])[1]
    assert Path(page).is_file()  # a path from here, as short as it can be
    assert page == "runs/digits/report/index.html"
    assert any(" ui " in command for command in commands) == tracked
    assert not any(f" {verb} " in command for command in commands)
    for command in commands[1:]:
        arguments = shlex.split(command.removeprefix("python -m orchestrator.grid "))
        assert len(f"  {command}") <= 80
        if arguments[0] != "ui":
            assert grid.main(arguments) == 0


def test_failures_stand_before_the_commands(tmp_path, capsys):
    fake = Fake(Store(str(tmp_path / "s")), small_spec(tracking={"enabled": False}))
    known_grids.remember(fake.store, fake.spec, fake.plan)
    fake.fill(fail=lambda node: node.kind == "trial" and node.inputs["method"] == "ft")
    assert grid.main(["run", "--store", "s", "--executor", "inline"]) == 3
    lines = capsys.readouterr().out.splitlines()
    failed = [number for number, line in enumerate(lines) if line.startswith("failed trial ")]
    assert len(failed) == 3
    assert all(lines[number + 1].startswith("  log  s/logs/") for number in failed)
    (retry,) = (n for n, line in enumerate(lines) if line.startswith("3 failed, 4 blocked by them"))
    assert lines[retry + 1] == "  python -m orchestrator.grid run --store s --retry-failed"
    assert max(failed) < len(lines) - 5
    assert lines[-3].startswith("  page ")


def test_a_half_finished_grid_is_synced_as_far_as_it_is(store, capsys, tmp_path):
    more = ["--set", "methods=retrain,ft,ga,qmul,rl", "--set", f"tracking.uri=sqlite:///{tmp_path}/mlflow.db"]
    assert grid.main(["sync", "--store", store, *more]) == 0
    out = capsys.readouterr().out
    assert "5 of 25 nodes of the grid are missing: run it, then sync again" in out
