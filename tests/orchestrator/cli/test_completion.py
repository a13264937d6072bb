"""Shell completion through the shells' own protocol: verbs, recipes, fields of the grid and their values."""

import shutil
import subprocess
import sys

import pytest

from core.data import DATASETS
from core.errors import BadInput
from core.models import MODELS
from core.unlearn import METHODS
from orchestrator.cli import completion, help as manual
from orchestrator.spec.overrides import with_overrides
from orchestrator.spec.recipes import RECIPES
from tests.one_problem import digits

SCRIPT = "import sys; sys.argv[0] = 'unlearn-grid'; from orchestrator.grid import main; sys.exit(main())"


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    patch = pytest.MonkeyPatch()
    patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
    completion.set_words("")  # what follows finds the words in the cache
    yield
    patch.undo()


@pytest.fixture
def complete(capsys, monkeypatch):
    """What bash is told for a line, whose last word is to be completed; as it hands them over, broken at = and :."""

    def call(*words, shell="bash"):
        from orchestrator import grid

        monkeypatch.setattr(sys, "argv", ["unlearn-grid"])
        monkeypatch.setenv("_UNLEARN_GRID_COMPLETE", f"complete_{shell}")
        monkeypatch.setenv("COMP_WORDS", "\n".join(["unlearn-grid", *words]))
        monkeypatch.setenv("COMP_CWORD", str(len(words)))
        with pytest.raises(SystemExit) as stopped:
            grid.main([])
        assert stopped.value.code == 0
        captured = capsys.readouterr()
        assert captured.err == ""
        return captured.out.split()

    return call


def test_verbs(complete):
    assert complete("s") == ["status", "score", "sync"]
    assert complete("p") == ["plan"]


def test_recipes(complete):
    assert complete("plan", "--recipe", "fi") == [name for name in RECIPES if name.startswith("fi")]


def test_executors(complete):
    assert complete("--executor", "i") == ["inline"]


def test_options(complete):
    assert complete("--ag") == ["--against"]


@pytest.mark.parametrize(
    ("field", "registry"), [("archs", MODELS), ("datasets", DATASETS), ("methods", METHODS)]
)
def test_values_come_from_the_registries(complete, field, registry):
    whole = [f"{field}={name}" for name in registry]
    assert complete("--set", f"{field}=") == whole
    assert complete("--set", field, "=") == list(registry)  # as bash breaks it, which wants the rest alone
    name = next(iter(registry))
    assert complete("--set", field, "=", name[:-1])[0] == name


def test_a_list_goes_on_after_a_comma(complete):
    assert "retrain,qmul" in complete("--set", "methods", "=", "retrain,qm")


def test_after_a_broken_word_the_line_goes_on(complete):
    assert complete("--set", "archs", "=", "resnet18", "--recipe", "cif") == ["cifar10_small"]


def test_fields(complete):
    assert complete("--set", "search.m") == ["search.mode="]
    assert complete("--set", "search.mode", "=", "h") == ["halving"]
    assert complete("--set", "data.limit.t") == ["data.limit.test=", "data.limit.train="]
    assert complete("--set", "params.qmul.ord") == ["params.qmul.order="]


@pytest.mark.parametrize("field", completion._fields())
def test_every_field_that_is_offered_exists(field):
    """A field is refused for its value, if at all, and never for its name."""
    (value, *_) = (*completion._fields()[field], "no such value")
    said = ""
    try:
        with_overrides(digits().model_dump(mode="json"), [f"{field}={value}"])
    except BadInput as error:
        said = str(error)
    assert "unknown key" not in said
    assert "unknown hyper-parameter" not in said


def test_a_second_time_nothing_heavy_is_imported():
    code = "import sys; from orchestrator.cli.completion import set_words as words"
    code += "; assert words('archs='); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", "ray", "pydantic", "numpy"} & set(done.stdout.split())


def test_words_follow_the_code(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert completion.recipe_words("") == list(RECIPES)
    monkeypatch.setattr(completion, "_stamp", lambda: "other code")
    monkeypatch.setattr(completion, "_recipes", lambda: ["new"])
    assert completion.recipe_words("") == ["new"]


def test_without_a_cache_it_only_takes_longer(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert completion.recipe_words("dig") == ["digits"]


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash on this machine")
def test_bash_itself_completes(tmp_path):
    program = tmp_path / "unlearn-grid"
    program.write_text(f"#!{sys.executable}\n{SCRIPT}\n")
    program.chmod(0o755)
    shell = f"""
        PATH={tmp_path}:$PATH
        eval "$(unlearn-grid --show-completion bash)"
        COMP_WORDS=(unlearn-grid --set archs = re) COMP_CWORD=4
        _unlearn_grid_completion unlearn-grid
        echo "${{COMPREPLY[@]}}"
    """
    done = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [name for name in MODELS if name.startswith("re")]


def test_help_names_every_verb_and_its_examples(capsys):
    from orchestrator import grid
    from orchestrator.cli import verbs

    assert set(manual.VERBS) == set(verbs.VERBS)
    assert grid.main(["--help"]) == 0
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 80
    for verb, (what, commands) in manual.VERBS.items():
        assert f"{verb}: {what}" in text
        assert commands
        for arguments, _ in commands:
            assert f"{manual.COMMAND} {arguments}" in text
