"""Successive halving: the same winners as a grid for fewer epochs, whatever is lost on the way."""

import json
import math
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

from orchestrator import grid
from orchestrator.plan.expansion import expand
from orchestrator.plan.grid_plan import make_plan
from orchestrator.plan.search_points import halving, rungs
from orchestrator.spec.specification import parse_spec
from tasks.node import REVISIONS
from tasks.nodes import dispatch
from tasks.store.store import Store
from tests import landscape
from tests.landscape import winners
from tests.orchestrator.grid_command import rows, write_spec


def run(trials, looks, reduction, gap):
    """What a whole search asks for, rung by rung; gap(trial, epochs) is None for a failure."""
    asked, decisions = [], halving(trials, looks, reduction)
    try:
        batch = next(decisions)
        while True:
            asked.append(batch)
            batch = decisions.send({trial: gap(trial, epochs) for trial, epochs in batch})
    except StopIteration:
        return asked


def test_rungs_grow_by_the_reduction_and_end_with_the_training():
    assert rungs(10, 2, 2) == [2, 4, 8, 10]
    assert rungs(5, 2, 2) == [2, 4, 5]
    assert rungs(9, 1, 3) == [1, 3, 9]
    assert rungs(2, 5, 2) == [2]
    assert rungs(0, 2, 2) == [0]


def test_the_better_half_goes_on():
    asked = run(8, [2, 4, 8, 10], 2, lambda trial, epochs: abs(trial - 5))
    assert asked == [
        [(trial, 2) for trial in range(8)],
        [(5, 4), (4, 4), (6, 4), (3, 4)],
        [(5, 8), (4, 8)],
        [(5, 10)],
    ]


def test_a_failed_trial_makes_room_for_the_next_best():
    asked = run(4, [1, 2], 2, lambda trial, epochs: None if (trial, epochs) == (0, 2) else trial)
    assert asked == [[(0, 1), (1, 1), (2, 1), (3, 1)], [(0, 2), (1, 2)], [(2, 2)]]


def test_where_every_trial_fails_the_search_ends():
    assert run(4, [1, 2], 2, lambda trial, epochs: None) == [[(0, 1), (1, 1), (2, 1), (3, 1)]]


@given(
    st.integers(1, 30),
    st.integers(1, 50),
    st.integers(1, 8),
    st.integers(2, 4),
    st.randoms(use_true_random=False),
)
@settings(deadline=None)
def test_where_ranks_do_not_change_the_best_trial_always_wins(trials, epochs, first, reduction, random):
    gaps = [random.random() for _ in range(trials)]
    looks = rungs(epochs, first, reduction)
    asked = run(trials, looks, reduction, lambda trial, _: gaps[trial])
    assert len(asked) == len(looks)
    assert (min(range(trials), key=lambda trial: gaps[trial]), epochs) in asked[-1]
    for earlier, later in pairwise(asked):
        assert {trial for trial, _ in later} <= {trial for trial, _ in earlier}
        assert len(later) == max(1, math.ceil(trials / reduction ** asked.index(later)))


# whole grids, on a known function


@pytest.fixture
def command(tiny, tmp_path, monkeypatch):
    """Runs the command line on six cells whose gaps are known; returns what the command says."""
    monkeypatch.setattr(dispatch, "_FUNCTIONS", {**dispatch._FUNCTIONS, **landscape.NODES})
    monkeypatch.setenv(landscape.LOG, str(tmp_path / "log"))
    values = tiny.model_dump(mode="json") | {
        "archs": ["resnet18", "mobilenetv2"],
        "methods": ["retrain", "ft", "iu", "qmul"],
        "params": {},
        "search": {"trials": 8},
    }
    spec = write_spec(tmp_path, parse_spec(values))

    def call(*arguments, store="store"):
        base = [
            "run",
            "--spec",
            str(spec),
            "--store",
            str(tmp_path / store),
            "--executor",
            "inline",
            "--json",
        ]
        return grid.main([*base, *arguments])

    return call


HALVING = ("--set", "search.mode=halving")


def said(capsys):
    return json.loads(capsys.readouterr().out)


def trials_run(tmp_path):
    """How often each trial node ran."""
    log = tmp_path / "log"
    return Counter(log.read_text().split()) if log.exists() else Counter()


def test_halving_finds_what_a_grid_finds_for_less_than_half_of_its_epochs(command, tmp_path):
    assert command(store="grid") == command(*HALVING, store="halving") == 0
    whole, halved = winners(str(tmp_path / "grid")), winners(str(tmp_path / "halving"))
    assert {cell: tried for cell, (tried, _) in whole.items()} == {
        c: tried for c, (tried, _) in halved.items()
    }
    assert len(whole) == 6
    for (_, _, method), (_, epochs) in whole.items():
        assert epochs == (0 if method == "iu" else 80)
    for (_, _, method), (_, epochs) in halved.items():
        assert epochs == (0 if method == "iu" else 8 * 2 + 4 * 2 + 2 * 4 + 1 * 2)


def test_a_grid_goes_on_from_what_halving_ran_and_back(command, tmp_path, capsys):
    command(*HALVING)
    before = trials_run(tmp_path)
    capsys.readouterr()
    assert command() == 0
    # the winner of each halved cell, and IU's grids with their selections, were there already
    assert said(capsys)["computed"] == 4 * (7 + 7 + 1)
    command(*HALVING)
    assert said(capsys)["computed"] == 0
    after = trials_run(tmp_path)
    assert set(after.values()) == {1}
    assert after.total() - before.total() == 4 * 7


def test_rows_and_report_hold_every_part_and_the_epochs_spent(command, tmp_path):
    command(*HALVING)
    found = rows(tmp_path / "store").values()
    searches = [row for row in found if row["kind"] == "search"]
    assert [row["epochs"] for row in searches] == [34] * 4
    assert all(len(row["candidates"]) == 8 + 4 + 2 + 1 for row in searches)
    parts = Counter(row["epochs"] for row in found if row["kind"] == "trial" and row["method"] == "ft")
    assert parts == {2: 16, 4: 8, 8: 4, 10: 2}
    assert not list((tmp_path / "store").glob("partial/*/*"))
    page = (tmp_path / "store/report/index.html").read_text()
    assert page.count("halving: 68 epochs, where every trial to its end takes 160") == 2  # a network each


def test_a_search_that_was_cut_off_goes_on(command, tmp_path, capsys, monkeypatch):
    class Killed(BaseException):
        pass

    really, count = landscape.train, 0

    def train(node, place, store):
        nonlocal count
        count += node.kind == "trial"
        if count == 40:
            raise Killed
        return really(node, place, store)

    monkeypatch.setitem(dispatch._FUNCTIONS, "trial", train)
    with pytest.raises(Killed):
        command(*HALVING)
    monkeypatch.setitem(dispatch._FUNCTIONS, "trial", really)
    assert command(*HALVING) == 0
    assert set(trials_run(tmp_path).values()) == {1}
    command(*HALVING, store="straight")
    assert rows(tmp_path / "store") == rows(tmp_path / "straight")


def test_a_lost_part_of_a_finished_search_is_computed_again(command, tmp_path, capsys):
    command(*HALVING)
    store = Store(str(tmp_path / "store"))
    before = rows(store.root)
    lost = next(k for k, row in before.items() if row["kind"] == "evaluate" and row["epochs"] == 4)
    store.quarantine(lost)
    capsys.readouterr()
    assert command(*HALVING) == 0
    assert said(capsys)["computed"] == 1
    assert rows(store.root) == before


def test_a_diverging_trial_is_replaced_and_told(command, tmp_path, capsys, monkeypatch):
    command(*HALVING, store="whole")
    best = winners(str(tmp_path / "whole"))["digits", "resnet18", "ft"][0]
    monkeypatch.setenv(landscape.DIVERGE, best.removeprefix("lr "))
    capsys.readouterr()
    assert command(*HALVING) == 3
    failed = said(capsys)["failed"]
    assert failed
    assert winners(str(tmp_path / "store"))["digits", "resnet18", "ft"][0] != best
    before = trials_run(tmp_path)
    assert command(*HALVING) == 3  # the same numbers diverge again: nobody tries
    assert said(capsys) | {"report": ""} == {
        "computed": 0,
        "failed": failed,
        "left": 0,
        "exit": 3,
        "report": "",
    }
    assert trials_run(tmp_path) == before
    monkeypatch.delenv(landscape.DIVERGE)
    assert command(*HALVING, "--retry-failed") == 0
    assert winners(str(tmp_path / "store")) == winners(str(tmp_path / "whole"))


def test_a_cell_whose_trials_all_diverge_is_a_hole_with_a_reason(command, tmp_path, capsys, monkeypatch):
    def diverge(node, place, store):
        raise landscape.Diverged("the loss is not finite")

    monkeypatch.setitem(dispatch._FUNCTIONS, "trial", diverge)
    assert command(*HALVING, "--set", "methods=retrain,ft", "--set", "archs=resnet18") == 3
    assert len(said(capsys)["failed"]) == 9  # eight trials and their search
    assert "every trial failed" in (tmp_path / "store/report/report.md").read_text()


def test_a_fresh_run_computes_everything_again(command, tmp_path, capsys):
    command(*HALVING)
    first = said(capsys)["computed"]
    assert command(*HALVING, "--fresh") == 0
    assert said(capsys)["computed"] == first
    assert set(trials_run(tmp_path).values()) == {2}


def test_a_plan_knows_beforehand_what_halving_will_run(tiny, tmp_path, capsys):
    values = tiny.model_dump(mode="json") | {"search": {"mode": "halving", "trials": 8}, "params": {}}
    plan = make_plan(parse_spec(values))
    assert plan.counts()["search"] == len(plan.searches) == 3
    assert expand(plan, Store(str(tmp_path))).counts() == plan.counts()
    file = Path(tmp_path, "halving.json")
    file.write_text(json.dumps(values))
    grid.main(["plan", "--spec", str(file), "--store", str(tmp_path / "store"), "--json"])
    facts = said(capsys)
    assert facts["nodes"]["trial"] == 2 * (8 + 4 + 2 + 1) + (8 + 4 + 2)  # GA has five epochs
    assert facts["trials_per_cell"] == [8]


def test_a_search_of_an_older_revision_is_named_and_made_again(command, tmp_path, capsys, monkeypatch):
    command(*HALVING)
    monkeypatch.setitem(REVISIONS, "search", 2)
    capsys.readouterr()
    assert command(*HALVING) == 0
    assert said(capsys)["computed"] == 2 * 4  # searches and selections; every part of every trial was there
    page = (tmp_path / "store/report/report.md").read_text()
    assert "search revision 1, now 2" in page
    assert "4 search, 4 select" in page
