"""ASHA and Optuna through Ray Tune: what a cell comes to is its own affair, and everything is in the store."""

import json
import random
from types import SimpleNamespace

import pytest

from orchestrator import grid
from orchestrator.plan.grid_plan import make_plan
from orchestrator.plan.trial_nodes import Search
from orchestrator.run.driver import Driver
from orchestrator.search import tune
from orchestrator.search.candidates import TunedCell
from orchestrator.search.tune import CellBrackets, CellSearcher
from orchestrator.spec.specification import parse_spec
from tasks.executors import on_ray
from tasks.record import Candidate
from tests import landscape
from tests.landscape import winners
from tests.orchestrator.grid_command import rows, write_spec


@pytest.fixture
def wide(tiny):
    """The tiny grid with eight trials a cell, on two networks."""
    values = tiny.model_dump(mode="json") | {
        "archs": ["resnet18", "mobilenetv2"],
        "methods": ["retrain", "ft", "iu", "qmul"],
        "params": {},
    }
    return lambda mode: parse_spec(values | {"search": {"mode": mode, "trials": 8}})


def simulated(spec, slots, order, stop_after=None):
    """Ray Tune's part without Ray: so many trials at once, ending in any order. Returns the cells."""
    plan, steps = make_plan(spec), 0
    cells = {key: TunedCell(plan.nodes[key], ()) for key in plan.searches}

    def stopping():
        return stop_after is not None and steps >= stop_after

    searcher = CellSearcher(cells.values(), lambda cell: 1.0, stopping)
    brackets = CellBrackets(cells, stopping)
    running, number = [], 0
    while True:
        config = None
        if len(running) < slots:
            config = searcher.suggest(f"{number}")
        if isinstance(config, dict):
            running.append(SimpleNamespace(trial_id=f"{number}", config=config))
            brackets.on_trial_add(None, running[-1])
            number += 1
            continue
        if not running:
            return cells
        trial = order.choice(running)
        (_, evaluation, epochs), *left = trial.config["parts"]
        trial.config["parts"], steps = left, steps + 1
        gap = landscape.gap(evaluation.inputs)
        seen = Candidate(evaluation=evaluation.key, ag=gap, ag_validation=gap)
        result = {"seen": seen, "ag": gap, "epochs": epochs}
        cells[trial.config["search"].key].look(trial.trial_id, result)
        if not left:
            brackets.on_trial_complete(None, trial, result)
        if not left or brackets.on_trial_result(None, trial, result) == "STOP":
            searcher.on_trial_complete(trial.trial_id, result)
            running.remove(trial)


@pytest.mark.parametrize("mode", ["asha", "optuna"])
def test_what_a_cell_tries_and_stops_does_not_depend_on_workers_or_their_speed(wide, mode):
    spec = wide(mode)
    alone = simulated(spec, 1, random.Random(0))
    for slots, seed in [(2, 1), (4, 2), (9, 3)]:
        assert {k: cell.ledger for k, cell in simulated(spec, slots, random.Random(seed)).items()} == {
            k: cell.ledger for k, cell in alone.items()
        }
    assert all(cell.over and cell.whole and len(cell.ledger) == 8 for cell in alone.values())


def best_of_grid(cell):
    """The best of the grid's points after a whole trial."""
    search = Search.of(cell.node)
    return min((landscape.gap(search.nodes(point)[1].inputs), repr(point)) for point in search.points(8))


def test_asha_finds_what_a_grid_finds_for_fewer_epochs(wide):
    for cell in simulated(wide("asha"), 3, random.Random(0)).values():
        whole = [point for point, looks in cell.ledger if looks[-1] == 10]
        found = min((landscape.gap(cell.search.nodes(point)[1].inputs), repr(point)) for point in whole)
        assert found == best_of_grid(cell)
        assert sum(looks[-1] for _, looks in cell.ledger) < 60  # of 80


def test_optuna_finds_as_much_as_a_grid_for_fewer_epochs(wide):
    for cell in simulated(wide("optuna"), 3, random.Random(0)).values():
        if cell.search.epochs:
            found = min(seen.ag for seen in cell.seen.values())
            assert found < best_of_grid(cell)[0] + 1.5  # half a step of the grid
            assert sum(looks[-1] for _, looks in cell.ledger) < 60


def test_trials_that_are_stopped_from_outside_leave_their_cell_open(wide):
    cells = simulated(wide("asha"), 3, random.Random(0), stop_after=20)
    assert any(not cell.whole for cell in cells.values())
    assert not all(cell.over for cell in cells.values())


# the real thing


@pytest.fixture
def command(ray_cluster, wide, tmp_path, monkeypatch):
    """Runs the command line on cells whose gaps are known, on Ray."""
    monkeypatch.setattr(tune, "TuneTrial", landscape.LandscapeTrial)
    monkeypatch.setattr(on_ray, "_Worker", landscape.LandscapeWorker)

    def call(mode, *arguments, store="store"):
        base = ["run", "--spec", str(write_spec(tmp_path, wide(mode))), "--store", str(tmp_path / store)]
        return grid.main([*base, "--json", *arguments])

    return call


def said(capsys):
    text = capsys.readouterr().out
    return json.loads(text[text.index("{\n") :])  # Ray may have told of a dead worker before


@pytest.mark.slow
@pytest.mark.ray
def test_one_tuner_runs_all_cells_and_a_dying_worker_costs_nothing(
    command, wide, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(tune, "TuneTrial", landscape.DyingTrial)
    assert command("asha") == 0
    assert (tmp_path / "store/died").exists()
    assert said(capsys)["computed"] == len(rows(tmp_path / "store"))
    found = winners(str(tmp_path / "store"))
    for cell in simulated(wide("asha"), 1, random.Random(0)).values():
        i = cell.node.inputs
        assert found[i["dataset"], i["arch"], i["method"]][1] == sum(looks[-1] for _, looks in cell.ledger)
    assert len(found) == 6
    assert command("asha") == 0
    assert said(capsys)["computed"] == 0


@pytest.mark.ray
@pytest.mark.slow
def test_a_search_that_was_stopped_goes_on_where_it_was(command, tmp_path, capsys, monkeypatch):
    small = ("--set", "archs=resnet18", "--set", "methods=retrain,ft,qmul", "--set", "search.trials=4")
    really = Driver.note

    def note(driver, outcome):
        really(driver, outcome)
        driver.clock.stopping = driver.clock.stopping or driver.summary.computed > 12

    monkeypatch.setattr(Driver, "note", note)
    assert command("optuna", *small) == 0
    stopped = said(capsys)
    assert stopped["left"] > 0
    monkeypatch.setattr(Driver, "note", really)
    assert command("optuna", *small) == 0
    went_on = said(capsys)
    assert command("optuna", *small, store="straight") == 0
    assert said(capsys)["computed"] == stopped["computed"] + went_on["computed"]
    assert rows(tmp_path / "store") == rows(tmp_path / "straight")


def test_without_ray_there_is_no_tune(wide, tmp_path, capsys):
    arguments = ["run", "--spec", str(write_spec(tmp_path, wide("asha"))), "--executor", "inline"]
    assert grid.main([*arguments, "--store", str(tmp_path / "store")]) == 2
    assert "use --executor ray, or search.mode=halving" in capsys.readouterr().err
