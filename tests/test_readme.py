"""What the documents show runs as shown."""

import re
import shlex
import subprocess
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from core.data.loader import Images, Transform
from core.models import build
from core.quant import calibrate_
from core.unlearn import Problem
from orchestrator import grid
from tests.bench.suite import BENCHMARKS

ROOT = Path(__file__).parents[1]
PAGES = ("README.md", "core/README.md", "orchestrator/README.md", "tests/README.md", "CONTRIBUTING.md")
README, CONTRIBUTING = ROOT.joinpath("README.md").read_text(), ROOT.joinpath("CONTRIBUTING.md").read_text()
COMMANDS = [
    (page, line.split(" #")[0].strip())
    for page in PAGES
    for block in re.findall(r"```sh\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)
    for line in block.replace("\\\n", " ").splitlines()
    if line.strip()
]
GRIDS = [(page, line) for page, line in COMMANDS if line.startswith("python -m orchestrator.grid")]


def test_the_method_of_the_recipe_unlearns():
    (code,) = re.findall(r"```python\n(# core/unlearn/.*?)```", CONTRIBUTING, re.DOTALL)
    names: dict = {}
    exec(code, names)
    method = names["METHOD"]
    generator = torch.Generator().manual_seed(0)
    images = Images(
        torch.randint(256, (24, 3, 8, 8), dtype=torch.uint8, generator=generator), torch.arange(24) % 3
    )
    transform = Transform((0.5,) * 3, (0.5,) * 3)
    model = build("resnet18", 3, generator=generator, width=0.1)
    calibrate_(model, transform.normalise(images.pixels)).eval()
    halves = images.select(torch.arange(12)), images.select(torch.arange(12, 24))
    problem = Problem(model, *halves, 3, transform, torch.device("cpu"))
    unlearned = method.run(problem, method.params(epochs=1, lr=1e-3), generator)
    assert any(not torch.equal(a, b) for a, b in zip(unlearned.parameters(), model.parameters(), strict=True))


def test_the_six_questions_are_answered_from_a_real_store(finished_store, tmp_path, monkeypatch, capsys):
    section = README.partition("## Six questions")[2].partition("\n## ")[0]
    snippets = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    assert section.count("**") == 2 * 6
    assert len(snippets) == 5  # the sixth is a command, which is planned below
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "digits").symlink_to(finished_store)
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    for snippet in snippets:
        assert len(snippet.splitlines()) <= 6
        exec(snippet, names)
        if "print" in snippet:
            shape = re.match(r"shape: \((\d+), (\d+)\)", capsys.readouterr().out)
            assert int(shape[1]) > 0
    assert names["model"].training is False
    assert set(names["table"]["method"]) == {"original", "retrain", "ft", "ga", "qmul"}


@pytest.mark.parametrize(("page", "line"), [c for c in GRIDS if "--recipe" in c[1]])
def test_a_grid_of_a_page_can_be_planned(page, line, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tmp_path.joinpath("customer.txt").write_text("0\n17\n")  # two images, by their rows
    arguments = [a for a in shlex.split(line)[3:] if a not in ("plan", "run")]
    assert grid.main(["plan", *arguments]) == 0
    assert "cells" in capsys.readouterr().out


@pytest.mark.parametrize(("page", "line"), [c for c in GRIDS if "--recipe" not in c[1]])
def test_a_verb_of_a_page_exists_and_knows_its_options(page, line, capsys):
    words = shlex.split(line)[3:]
    assert grid.main([*words, "--help"]) == 0
    assert words == [] or words[0] in capsys.readouterr().out


@pytest.mark.parametrize(("page", "line"), [c for c in COMMANDS if c[1].startswith("make ")])
def test_make_knows_the_targets_of_a_page(page, line):
    said = subprocess.run(["make", "-n", *shlex.split(line)[1:]], cwd=ROOT, capture_output=True, text=True)
    assert said.returncode == 0, said.stderr


@pytest.mark.parametrize(("page", "line"), [c for c in COMMANDS if c[1].startswith("python -m tests.bench")])
def test_the_benchmarks_of_a_page_exist(page, line):
    words = shlex.split(line)[3:]
    assert {after for word, after in pairwise(words) if word == "--only"} <= BENCHMARKS.keys()


def test_every_command_of_a_page_is_of_a_kind_that_is_tested():
    kinds = ("python -m orchestrator.grid", "make ", "python -m tests.bench")
    elsewhere = (
        "export RAY_AUTH_MODE",
        "PATH=$PWD/.venv/bin:$PATH ray start",
        "ray job submit",
        "python -m orchestrator.activation_pictures",
        "pip install",
    )
    assert [c for c in COMMANDS if not c[1].startswith((*kinds, *elsewhere))] == []


def test_the_readme_is_read_to_its_end():
    assert len(README.splitlines()) <= 250


@pytest.mark.parametrize("page", PAGES)
def test_the_links_of_a_page_lead_somewhere(page):
    folder, text = (ROOT / page).parent, (ROOT / page).read_text()
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        path, _, anchor = target.partition("#")
        if path.startswith("http"):
            continue
        found = (folder / path).resolve() if path else ROOT / page
        assert found.exists(), target
        if anchor:
            titles = re.findall(r"^#+ (.*)$", found.read_text(), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w\- ]", "", t.lower()).replace(" ", "-") for t in titles}, target
