"""The command line's manners: one line, exit code 2, and nothing started, for whatever the caller got wrong."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from core.errors import BadInput
from orchestrator import grid
from orchestrator.cli import help as manual
from orchestrator.environment import store_uri
from orchestrator.spec.overrides import grid_spec
from orchestrator.spec.recipes import RECIPES


def complaint(capsys, *arguments):
    """The one line of a refused command."""
    assert grid.main(list(arguments)) == 2
    captured = capsys.readouterr()
    lines = captured.err.strip().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("error: ")
    return lines[0]


@pytest.fixture(autouse=True)
def in_a_new_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(Path.cwd()))
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["plam"], "did you mean 'plan'"),
        (["--recipe", "digit"], "did you mean 'digits'"),
        (["--recipes", "digits"], "--recipe"),
        (["plan", "--executor", "rey"], "did you mean 'ray'"),
        (["plan", "--recipe", "digits", "--set", "rations=0.1"], "did you mean 'ratios'"),
        (["plan", "--recipe", "table1", "--set", "classes=0"], "ratios=0.1,0.3,0.5 contradicts classes=0"),
        (["plan", "--recipe", "table5", "--set", "ratios=0.1"], "ratios=0.1 contradicts classes=0"),
        (["--recipe", "digits", "--set", "split=mismatched"], "contradicts select_on=validation"),
        (
            ["--recipe", "digits", "--set", "protocol=released", "--set", "validation=0"],
            "contradicts validation=0",
        ),
        (["--recipe", "digits", "--set", "params.qmul_no_agr.weights=adaptive"], "contradicts qmul_no_agr"),
        (["--recipe", "digits", "--set", "methods=ft_no_sl"], "ft has no ablation"),
        (["--recipe", "digits", "--set", "methods=rl,qmul:ordr=joint"], "did you mean 'order'"),
        (["--recipe", "digits", "--set", "methods=retrain:lr=0.2"], "set retrain.lr=0.2"),
        (["--recipe", "digits", "--set", "params.retrain.lr=0.2"], "params.retrain contradicts retrain"),
        (["plan", "--recipe", "tabel1"], "did you mean 'table1'"),
        (["plan", "--recipe", "table3", "--set", "quantizers=1w4a-pact"], "(nearest: 2)"),
        (["run", "--recipe", "digits", "--budget", "soon"], "write a duration"),
        (["plan", "--spec", "nowhere.yaml"], "No such file"),
        (["status"], "no grid in"),
        (["report", "--store", "empty"], "no grid in"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(arguments, expected, capsys):
    assert expected in complaint(capsys, *arguments)


def test_missing_data_names_the_files_and_both_ways_to_get_them(capsys, tmp_path):
    arguments = ["--recipe", "cifar10_small", "--executor", "inline", "--set", "tracking.enabled=false"]
    line = complaint(
        capsys, "run", *arguments, "--set", f"data.root={tmp_path}", "--store", str(tmp_path / "s")
    )
    assert "cifar-10-batches-py" in line or "cifar-10-python.tar.gz" in line
    assert "parquet" in line
    assert "data.download=true" in line


def test_the_full_grid_on_a_machine_without_gpu_stops_before_any_work(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert grid.main(["--store", str(tmp_path / "s"), "--executor", "inline"]) == 2
    captured = capsys.readouterr()
    assert "--recipe digits" in captured.err
    assert "--allow-cpu" in captured.err
    assert "192" in captured.out  # the plan, with its estimate
    assert not (tmp_path / "s" / "manifests").exists()


def test_the_whole_paper_is_planned_without_a_recipe(capsys):
    assert grid.main(["plan", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["cells"] == 192
    assert facts["nodes"]["original"] == 8
    assert facts["nodes"]["retrain"] == 24
    assert facts["nodes"]["select"] == 168
    assert facts["hours"] > 10


def test_a_plan_states_budget_protocol_and_selection(capsys):
    assert grid.main(["plan", "--recipe", "table1"]) == 0
    text = capsys.readouterr().out
    assert "8 trials per method and cell, selected on validation figures" in text
    assert "paper, one split" in text
    assert grid.main(["plan", "--recipe", "table1", "--set", "protocol=released"]) == 0
    text = capsys.readouterr().out
    assert "selected on test figures" in text
    assert "released, the original trained on another split" in text
    assert "4w8a-released" in text


def test_a_plan_says_where_budgets_differ(capsys):
    assert grid.main(["plan", "--recipe", "digits", "--set", "params.ft.lr=0.1"]) == 0
    assert "1 or 3 trials per method and cell" in capsys.readouterr().out
    assert grid.main(["plan", "--recipe", "digits", "--set", "methods=retrain", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["trials_per_cell"] == []


@pytest.mark.parametrize(
    "name", sorted(RECIPES.keys() - {"fidelity"})
)  # fidelity compares the protocols itself
def test_every_recipe_can_be_planned_in_the_published_protocol_too(name, capsys):
    assert grid.main(["plan", "--recipe", name, "--set", "protocol=released", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["cells"] > 0


def test_a_store_that_cannot_be_written_is_one_line(capsys, tmp_path):
    (tmp_path / "file").write_text("")
    line = complaint(
        capsys, "--recipe", "digits", "--executor", "inline", "--store", str(tmp_path / "file" / "s")
    )
    assert "cannot be written" in line
    assert "--store" in line


def test_a_relative_store_in_a_ray_job_is_refused(capsys, monkeypatch):
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}")
    assert "vanishes with the cluster" in complaint(capsys, "--recipe", "digits", "--store", "runs/x")


def test_a_ray_job_on_one_node_has_a_store_of_its_own(monkeypatch, tmp_path):
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr("orchestrator.environment._cluster_size", lambda: 1)
    assert store_uri(None, "full") == str(tmp_path / "unlearn-grid" / "full")


def test_a_ray_job_on_several_nodes_needs_a_shared_store(monkeypatch):
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}")
    monkeypatch.setattr("orchestrator.environment._cluster_size", lambda: 2)
    with pytest.raises(BadInput, match="UNLEARN_GRID_STORE"):
        store_uri(None, "full")


def test_the_store_comes_from_the_option_then_the_environment_then_the_recipe(monkeypatch, tmp_path):
    assert store_uri(None, "digits") == str(tmp_path / "runs" / "digits")
    monkeypatch.setenv("UNLEARN_GRID_STORE", "s3://bucket/grid")
    assert store_uri(None, "digits") == "s3://bucket/grid"
    assert store_uri("here", "digits") == str(tmp_path / "here")


def test_help_has_examples(capsys):
    assert grid.main(["--help"]) == 0
    assert "python -m orchestrator.grid --recipe digits" in capsys.readouterr().out


HIDE = """
import sys
class Hide:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("ray", "mlflow", "polars"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name.split(".")[0])
sys.meta_path.insert(0, Hide())
from orchestrator import grid
sys.exit(grid.main(sys.argv[1:]))
"""


def test_the_inline_executor_needs_neither_ray_nor_mlflow_nor_polars(tiny, tmp_path):
    spec = tmp_path / "tiny.json"
    spec.write_text(json.dumps(tiny.model_dump(mode="json")))
    arguments = ["run", "--spec", str(spec), "--executor", "inline", "--store", str(tmp_path / "store")]
    done = subprocess.run([sys.executable, "-c", HIDE, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Q-MUL" in done.stdout
    assert (tmp_path / "store" / "report" / "index.html").exists()


def test_a_plan_that_insists_on_cpus_is_timed_on_cpus(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr("orchestrator.cli.estimate.gpu_name", lambda: None)

    def words_of(*more):
        assert grid.main(["plan", "--recipe", "table7", "--store", str(tmp_path), *more]) == 0
        return capsys.readouterr().out

    assert "RTX 4090" in words_of()
    assert "one core of" in words_of("--allow-cpu")


@pytest.mark.parametrize("verb", sorted(manual.VERBS))
@pytest.mark.parametrize("width", [60, 100])
def test_the_help_of_a_verb_is_its_own_and_fits_the_terminal(verb, width, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(width))
    assert grid.main([verb, "--help"]) == 0
    text = capsys.readouterr().out
    assert text.startswith(f"{manual.COMMAND} {verb}: ")
    assert all(len(line) <= width for line in text.splitlines()[1:] if manual.COMMAND not in line)
    assert ("--hardware" in text) == (verb == "plan")
    assert ("fields for --set" in text and "resources.device" in text) == (verb in ("run", "plan"))


def test_help_explains_the_figures_once(capsys):
    assert grid.main(["--help"]) == 0
    assert capsys.readouterr().out.count("AG is the mean distance") == 1


@pytest.mark.parametrize(
    ("setting", "field", "expected"),
    [
        ("methods=Retrain,FT,Q-MUL", "methods", ("retrain", "ft", "qmul")),
        ("methods=Q-MUL:order=sequential", "methods", ("qmul:order=sequential",)),
        ("archs=ResNet-18,resnet18", "archs", ("resnet18",)),
        ("datasets=cifar-10", "datasets", ("cifar10",)),
    ],
)
def test_names_may_be_given_as_they_are_printed(setting, field, expected):
    assert getattr(grid_spec("cifar10_small", None, [setting]), field) == expected


def test_a_changed_recipe_no_longer_calls_itself_the_paper(capsys, tmp_path):
    store = ["--store", str(tmp_path / "s")]
    assert grid.main(["plan", "--recipe", "table1", *store, "--set", "data.root=/x"]) == 0
    first = capsys.readouterr().out.splitlines()[0]
    assert first == (RECIPES["table1"].__doc__ or "").partition("\n")[0]
    assert (
        grid.main(["plan", "--recipe", "table1", *store, "--set", "seeds=1,2", "--set", "search.trials=2"])
        == 0
    )
    assert capsys.readouterr().out.splitlines()[0] == "table1 with changes in seeds, search"
