"""The pace of this machine: measured in seconds, remembered, and whose hours a plan tells."""

import json
import subprocess
import sys

import pytest

from orchestrator import grid
from orchestrator.plan.costs import this_machine
from orchestrator.plan.costs.estimate import CostModel
from orchestrator.plan.costs.paces import pace_of
from orchestrator.plan.costs.this_machine import _Measured, pace_here
from orchestrator.plan.grid_plan import make_plan
from orchestrator.spec.recipes import full
from tests.one_problem import digits


@pytest.fixture
def measured(monkeypatch, tmp_path):
    """A machine that takes a millisecond an image, measured as often as the list is long; in a new cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    asked = []

    def run(command, **_options):
        asked.append(command)
        return subprocess.CompletedProcess(command, 0, '{"seconds": 0.001, "hardware": "a slow one"}\n', "")

    monkeypatch.setattr(this_machine, "_measure", MEASURE)
    monkeypatch.setattr(this_machine.subprocess, "run", run)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    return asked


MEASURE = this_machine._measure  # conftest puts another in its place


def plan_facts(capsys, *arguments):
    assert grid.main(["plan", *arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def hours(pace, spec):
    return CostModel(pace, spec.data.limit).total(make_plan(spec).nodes.values())


def test_the_machine_is_measured_once_and_with_a_network_of_the_grid(measured):
    assert pace_here(digits(), "cpu", measure=False) is None
    first = pace_here(digits(), "cpu", measure=True)
    again = pace_here(digits(), "cpu", measure=False)
    assert first == again
    (command,) = measured
    assert command[2:4] == ["tasks.nodes.training_speed", "resnet18"]
    assert command[5:7] == ["0.125", "16"]
    assert "a slow one" in first.words
    assert "ResNet-18" in first.words


def test_what_was_measured_scales_every_expected_time(measured):
    known = pace_of("cpu")
    found = pace_here(digits(), "cpu", measure=True)
    ratio = found.networks["mobilenetv2"].values / known.networks["mobilenetv2"].values
    assert found.networks["resnet18"].values == pytest.approx(ratio * known.networks["resnet18"].values)
    training = this_machine._training_of(digits(), "cpu", known)
    expected = found.network("resnet18").seconds_per_image(this_machine._work(training))
    assert expected == pytest.approx(0.001)
    assert (hours(found, digits()) > hours(known, digits())) == (ratio > 1)


def test_a_broken_cache_and_a_failed_measurement_are_no_pace(measured, monkeypatch):
    pace_here(digits(), "cpu", measure=True)
    file = this_machine._file(this_machine._training_of(digits(), "cpu", pace_of("cpu")))
    for text in ("", "{}", '{"seconds": 0, "hardware": "x"}'):
        file.write_text(text)
        assert pace_here(digits(), "cpu", measure=False) is None

    def fails(command, **_options):
        raise subprocess.CalledProcessError(1, command)

    monkeypatch.setattr(this_machine.subprocess, "run", fails)
    assert pace_here(digits(), "cpu", measure=True) is None


def test_a_plan_for_gpus_tells_the_papers_hours_and_this_machines_beside_them(measured, capsys, tmp_path):
    facts = plan_facts(capsys, "--recipe", "table1", "--store", str(tmp_path / "s"))
    assert facts["hardware"] == pace_of("cuda").hardware
    assert "this machine (one core of a slow one)" in facts["here"]["hours_are"]
    assert facts["here"]["hours"] > facts["hours"]
    assert grid.main(["plan", "--recipe", "table1", "--store", str(tmp_path / "s")]) == 0
    assert "this machine" in " ".join(capsys.readouterr().out.split())


def test_a_plan_for_any_machine_is_told_in_this_ones_hours(measured, capsys, tmp_path):
    facts = plan_facts(capsys, "--recipe", "digits", "--store", str(tmp_path / "s"))
    assert (facts["hardware"], facts["here"]) == ("a slow one", None)
    assert len(measured) == 1


@pytest.mark.parametrize("name", ["paper", "rtx 4090", "AMD EPYC"])
def test_whose_hours_can_be_said_and_then_nothing_is_measured(name, measured, capsys, tmp_path):
    facts = plan_facts(capsys, "--recipe", "table1", "--hardware", name, "--store", str(tmp_path / "s"))
    assert facts["hardware"].lower() == name.replace("paper", "rtx 4090").lower()
    assert facts["here"] is None
    assert measured == []


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["plan", "--hardware", "papper"], "did you mean 'paper'"),
        (["run", "--hardware", "here"], "--hardware belongs to plan, not to run"),
    ],
)
def test_hardware_that_nobody_knows_is_one_line(arguments, expected, capsys):
    assert grid.main(arguments) == 2
    assert expected in capsys.readouterr().err


def test_a_network_is_really_trained():
    arguments = ["resnet18", "4w4a", "0.0625", "16", "4", "cpu", "auto"]
    command = [sys.executable, "-m", "tasks.nodes.training_speed", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = _Measured.model_validate_json(done.stdout.splitlines()[-1])
    assert 0 < found.seconds < 10
    assert found.hardware


def test_the_whole_paper_is_measured_with_few_images_at_a_time():
    training = this_machine._training_of(full(), "cpu", pace_of("cpu"))
    assert 4 <= training.batch < full().original_params().batch_size
