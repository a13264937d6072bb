"""What the README shows runs as shown."""

import re
import shlex
from pathlib import Path

import pytest
import torch

from core.data.loader import Images, Transform
from core.models import build
from core.quant import calibrate_
from core.unlearn import Problem
from orchestrator import grid

README = Path(__file__).parents[1].joinpath("README.md").read_text()
COMMANDS = [
    line.split("#")[0] for line in README.splitlines() if line.startswith("python -m orchestrator.grid")
]


def test_the_method_of_the_readme_unlearns():
    (code,) = re.findall(r"```python\n(# core/unlearn/.*?)```", README, re.DOTALL)
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


@pytest.mark.parametrize("line", [c for c in COMMANDS if "--recipe" in c and "[" not in c])
def test_a_grid_of_the_readme_can_be_planned(line, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments = [a for a in shlex.split(line)[3:] if a not in ("plan", "run")]
    assert grid.main(["plan", *arguments]) == 0
    assert "cells" in capsys.readouterr().out
