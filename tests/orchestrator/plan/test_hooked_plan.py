"""Originals that a method's hook took part in, and methods that cannot forget what is asked for, in the plan."""

import pytest
import torch

from core.metrics.outputs import OUTPUTS, unpack
from core.unlearn import METHODS
from orchestrator.plan.grid_plan import make_plan
from orchestrator.results.entries import collect
from orchestrator.results.models import load_node
from orchestrator.spec.specification import parse_spec
from orchestrator.spec.titles import title
from tasks.job import Job, Place
from tasks.nodes.dispatch import run_node
from tasks.store import Store

GRID = {
    "datasets": "digits",
    "archs": "resnet18",
    "classes": [3, 5],
    "widths": {"resnet18": 0.05},
    "data": {"limit": 120},
    "original": {"epochs": 1, "batch_size": 32},
    "retrain": {"epochs": 1},
    "search": {"trials": 1},
}
BRIEF = {"params": {"all": {"batch_size": 32, "epochs": 1}}}


def plan_of(*methods, **values):
    return make_plan(parse_spec(GRID | BRIEF | {"methods": ["retrain", *methods]} | values))


def originals(plan):
    return [node for node in plan.nodes.values() if node.kind == "original"]


def test_methods_without_a_hook_share_the_plain_original():
    (node,) = originals(plan_of("ft", "qmul"))
    assert "hook" not in node.inputs
    assert node.label == ""


def test_an_original_is_trained_once_for_each_setting_of_a_hook():
    plan = plan_of("ft", "mnemonic", "mnemonic:lambda1=0.0001", "mnemonic:t_mix=0.1")
    labels = [node.label for node in originals(plan)]
    assert labels == ["", "original:mnemonic", "original:mnemonic:t_mix=0.1"]  # for both classes
    assert [node.words for node in originals(plan)][
        1
    ] == "original digits resnet18 4w4a original:mnemonic seed 1"


def test_a_hook_that_must_know_what_is_forgotten_has_an_original_for_each_forget_set():
    found = originals(plan_of("amnesiac", "amnesiac:tune_epochs=2"))
    assert [node.inputs.get("hook", {}).get("forget") for node in found] == [
        None,
        {"scenario": "class", "amount": 3.0},
        {"scenario": "class", "amount": 5.0},
    ]


def test_a_trial_works_on_the_original_that_its_method_took_part_in():
    plan = plan_of("ft", "mnemonic")
    by_label = {node.label: node.key for node in originals(plan)}
    for node in plan.nodes.values():
        if node.kind == "trial":
            expected = by_label["original:mnemonic" if node.inputs["method"] == "mnemonic" else ""]
            assert node.parents[1] == expected


def test_a_grid_without_hooks_has_the_keys_it_had():
    before = plan_of("ft", "qmul").nodes.keys()
    assert before <= plan_of("ft", "qmul", "mnemonic", "amnesiac").nodes.keys()


def test_hooked_originals_are_measured_and_stand_beside_the_plain_one():
    plan = plan_of("mnemonic")
    entries = collect(plan, [])
    names = [entry.cell.method for entry in entries if entry.cell.amount == 3]
    assert names == ["original", "original:mnemonic", "retrain", "mnemonic"]
    assert title("original:mnemonic") == "Original (Mnemonic)"


@pytest.mark.parametrize("name", [name for name, m in METHODS.items() if m.scenarios != {"random", "class"}])
def test_a_method_that_cannot_forget_what_is_asked_for_is_left_out_with_a_reason(name):
    plan = plan_of("ft", name, classes=[], ratios=[0.1])
    assert {cell.method for cell in plan.cells} == {"retrain", "ft"}
    (cell,) = plan.left_out
    assert cell.method == name
    assert plan.omissions == [
        f"{name} left out: forgets whole classes only; set classes=… in place of ratios=…"
    ]
    assert plan_of("ft", name).left_out == {}


@pytest.mark.parametrize("name", [name for name, m in METHODS.items() if m.hook])
def test_a_hooked_method_runs_from_its_original_to_its_selection(name, tmp_path):
    plan = plan_of(name, classes=[3])
    place = Place(str(tmp_path / "store"), cache=str(tmp_path / "cache"), device="cpu")
    rows = {key: run_node(Job(node, place)) for key, node in plan.nodes.items()}
    (select,) = (row for key, row in rows.items() if plan.nodes[key].kind == "select")
    assert select.method == name
    assert 0 <= select.ef <= 100
    assert select.activation_forget is not None
    (original,) = (key for key, node in plan.nodes.items() if node.inputs.get("hook"))
    loaded = [load_node(Store(place.store), key, torch.device("cpu")) for key in (original, select.model)]
    assert type(loaded[0]) is type(loaded[1])  # the network that the hook built
    assert not any(model.training for model in loaded)


def test_what_is_left_out_is_said_by_plan_run_and_report(tmp_path, capsys):
    from orchestrator.grid import main

    store = str(tmp_path / "store")
    asked = [
        "--recipe",
        "digits",
        "--store",
        store,
        "--set",
        "methods=retrain,mnemonic",
        "--set",
        "data.limit=120",
    ]
    asked += ["--set", "original.epochs=1", "--set", "retrain.epochs=1", "--set", "tracking.enabled=false"]
    asked += ["--set", "widths.resnet18=0.05"]
    why = "mnemonic left out: forgets whole classes only; set classes=… in place of ratios=…"
    assert main(["plan", *asked]) == 0
    assert why in " ".join(capsys.readouterr().out.split())
    assert main([*asked, "--executor", "inline"]) == 0
    assert why in " ".join(capsys.readouterr().out.split())
    assert why in (tmp_path / "store/report/report.md").read_text()


def test_the_report_shows_e_f_and_distances(tmp_path):
    from orchestrator.report.contents import read_grid
    from orchestrator.report.writing import write_report
    from tasks.store.store import Store

    spec = parse_spec(GRID | BRIEF | {"methods": ["retrain", "ft"], "classes": [3]})
    plan, store = make_plan(spec), Store(str(tmp_path / "store"))
    place = Place(store.uri, cache=str(tmp_path / "cache"), device="cpu")
    rows = [run_node(Job(node, place)) for node in plan.nodes.values()]
    (select,) = (row for row in rows if row.kind == "select")
    assert len(unpack(store.read(select.model, OUTPUTS))["test"]) == select.test_count  # what TA is of
    (table,) = read_grid(store, spec, plan).tables
    (outputs,) = (found for found in table.figure_tables if found.title == "Outputs beside Retrain's")
    lines = {
        line.method: {n: f for n, f in line.figures.items() if n in outputs.metrics} for line in outputs.lines
    }
    assert lines.keys() == {"original", "retrain", "ft"}
    assert set(lines["retrain"]) == {"ef"}
    assert len(lines["ft"]) == 7
    write_report(store, spec, plan)
    for name in ("report.md", "index.html"):
        page = (tmp_path / "store/report" / name).read_text()
        assert f"{lines['ft']['activation_forget'].mean:.3f}" in page
        assert "E_F, %" in page
