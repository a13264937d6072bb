"""Forget lists in a grid: matched with the images before anything is planned, keyed by what they name."""

import json

import numpy as np
import pytest
import torch

from core.data import load, rows_of
from core.errors import BadInput
from orchestrator import grid, load_results
from orchestrator.environment import data_folders_of
from orchestrator.plan.grid_plan import make_plan
from orchestrator.report.tabulation import build_tables
from orchestrator.results.known_grids import stored_grid
from orchestrator.results.reading import read_rows
from orchestrator.spec import parse_spec
from orchestrator.tracking.run_values import run_name
from tasks.store.store import Store
from tests.core.data.test_forget_list import folder

GRID = {
    "datasets": ["folder:pets"],
    "archs": ["lenet"],
    "quantizers": ["fp"],
    "methods": ["retrain", "ft", "mnemonic"],
    "original": {"epochs": 1, "batch_size": 8},
    "retrain": {"epochs": 1},
    "params": {"ft": {"epochs": 1, "batch_size": 8}},
    "search": {"trials": 1},
    "tracking": {"enabled": False},
}


@pytest.fixture
def pets(tmp_path):
    folder(tmp_path / "data")
    return tmp_path


def spec_file(place, **fields):
    file = place / "grid.yaml"
    file.write_text(json.dumps(GRID | {"data": {"root": str(place / "data")}} | fields))
    return file


def write(place, name, *entries):
    path = place / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(entries))
    return path


def asked(verb, place, lists, *arguments, **fields):
    command = [verb, "--spec", str(spec_file(place, **fields)), "--store", str(place / "store"), "--json"]
    if lists:
        command += ["--set", f"forget.list={','.join(map(str, lists))}"]
    return grid.main([*command, *arguments])


def planned(capsys, place, lists, *arguments, **fields):
    assert asked("plan", place, lists, "--hardware", "paper", *arguments, **fields) == 0
    return json.loads(capsys.readouterr().out)


def forgetting(facts):
    (dataset,) = facts["tree"]["parts"]
    return [part["name"] for part in dataset["parts"][0]["parts"]]


def test_lists_are_problems_beside_the_others(pets, capsys):
    one = write(pets, "customer.txt", "train/ant/1.png", "bee/2.png", "nobody.png")
    two = write(pets, "other/customer.txt", "5")
    facts = planned(capsys, pets, [one, two], ratios=[0.5], classes=[0])
    names = [
        "random 50 %",
        "class 0",
        f"list {pets.name}/customer.txt, 2 images",
        "list other/customer.txt, 1 image",
    ]
    assert forgetting(facts) == names
    assert facts["nodes"]["original"] == 1 + 1 + 2  # that of all, mnemonic's, and one for each list
    assert facts["lists"] == [f"{pets.name}/customer.txt: folder:pets: 1 is not there (nobody.png)"]
    assert facts["left_out"] == [
        "mnemonic left out: forgets whole classes only; set classes=… in place of ratios=…",
        "mnemonic left out: forgets whole classes only; set classes=… in place of forget.list=…",
    ]


def spec_of(**rows):
    lists = [{"path": f"{name}.txt", "rows": {"folder:pets": each}} for name, each in rows.items()]
    return parse_spec(GRID | {"forget": {"list": lists}})


def test_keys_follow_what_a_list_names_and_not_what_it_is_called():
    one, same, other = spec_of(a="1-3"), spec_of(b="1-3"), spec_of(a="1-2,4")
    keys = [set(make_plan(each).nodes) for each in (one, same, other)]
    assert keys[0] == keys[1]
    assert len(keys[0] & keys[2]) == 1  # the data
    both = make_plan(spec_of(a="1-3", b="5"))
    assert keys[0] < set(both.nodes)
    assert {cell.scenario for cell in both.cells} == {"list:a.txt", "list:b.txt"}
    alone = make_plan(parse_spec(GRID | {"ratios": [0.5]})).nodes
    beside = make_plan(parse_spec(spec_of(a="1-3").model_dump(mode="json") | {"ratios": [0.5]})).nodes
    assert set(alone) < set(beside)
    audited = {"audit": {"models": 6}}
    shadows = [make_plan(parse_spec(each.model_dump(mode="json") | audited)) for each in (one, same)]
    assert set(shadows[0].nodes) == set(shadows[1].nodes)
    assert len(shadows[0].audits) == 2
    hooked = [
        set(
            make_plan(parse_spec(each.model_dump(mode="json") | {"methods": ["amnesiac:affected=0.5"]})).nodes
        )
        for each in (one, same)
    ]
    assert hooked[0] == hooked[1]


def test_a_run_names_its_list_and_goes_on_without_the_file(pets, capsys):
    path = write(pets, "customer.csv", "id,file", "1,train/ant/1.png", "2,train/bee/2.png", "3,ant/4.png")
    code = asked("run", pets, [path], "--executor", "inline", methods=["retrain", "ft"])
    assert code == 0, capsys.readouterr().err
    capsys.readouterr()
    path.unlink()
    store = Store(str(pets / "store"))
    spec = stored_grid(store)
    plan = make_plan(spec)
    (table,) = build_tables(spec, plan, read_rows(store, plan.nodes.keys())[0])
    assert table.title.endswith("fp · list customer.csv, 3 images")
    assert dict(table.facts)["Forget set"] == "list customer.csv, 3 images: 3 of 12 images"
    rows = load_results(str(pets / "store"))
    chosen = rows.filter(rows["kind"] == "select").row(0, named=True)
    assert (chosen["scenario"], chosen["amount"], chosen["forget_count"]) == ("list:customer.csv", 3, 3)
    select = plan.nodes[chosen["key"]]
    assert run_name(spec, select) == "FT · folder:pets · lenet fp · list customer.csv, 3 images"
    assert grid.main(["run", "--store", str(pets / "store"), "--executor", "inline", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["computed"] == 0
    listed = rows_of(spec.forget.list[0].rows["folder:pets"])
    labels = load("folder:pets", *data_folders_of(spec)[:1], cache=data_folders_of(spec)[1]).train_labels
    assert torch.equal(labels[listed], torch.from_numpy(np.array([0, 0, 1])))


def test_a_list_lies_where_it_is_named_or_below_the_data_root(pets, capsys, monkeypatch):
    write(pets / "data", "lists/customer.txt", "1")
    monkeypatch.chdir(pets)
    assert forgetting(planned(capsys, pets, ["lists/customer.txt"])) == ["list customer.txt, 1 image"]
    write(pets, "lists/customer.txt", "1", "2")
    assert forgetting(planned(capsys, pets, ["lists/customer.txt"])) == ["list customer.txt, 2 images"]


@pytest.mark.parametrize("verb", ["plan", "run"])
@pytest.mark.parametrize(
    ("entries", "arguments", "complaint"),
    [
        (
            ["x.png"],
            (),
            "forget.list=customer.txt: it names no training image of folder:pets: 1 is not there (x.png)",
        ),
        (["0", "x.png"], (), "half of it or more names no training image"),
        (["0", "x.png"], ("--set", "forget.column=file"), "is no table"),
        (None, (), "customer.txt is not there"),
        (["0"], ("--set", "forget.list=[3]"), "forget.list"),
        (["0"], ("--set", "forget.lists=x"), "forget.lists"),
    ],
)
def test_what_is_wrong_with_a_list_is_one_line(pets, capsys, verb, entries, arguments, complaint):
    path = pets / "customer.txt" if entries is None else write(pets, "customer.txt", *entries)
    assert asked(verb, pets, [path], *arguments) == 2
    out = capsys.readouterr()
    assert complaint in out.err
    assert out.err.count("\n") == 1
    assert not (pets / "store").exists()


@pytest.mark.parametrize("rows", ["5-3", "1,1", "1,2", "3,1", "1-3,3", "1-3,4", "", "a", "-1", "1-999999999"])
def test_rows_are_given_in_one_way(rows):
    with pytest.raises(BadInput):
        spec_of(a=rows)


@pytest.mark.parametrize("rows", ["0", "1-3", "1-2,4", "0,2-5,7"])
def test_rows_that_are_given_are_taken(rows):
    assert spec_of(a=rows).forget.rows("folder:pets") == {"a.txt": rows}


def test_two_lists_of_the_same_images_are_one_too_many(pets, capsys):
    lists = [write(pets, "a.txt", "train/ant/1.png"), write(pets, "b.txt", "1")]
    assert asked("plan", pets, lists) == 2
    assert "a.txt and b.txt name the same images" in capsys.readouterr().err
