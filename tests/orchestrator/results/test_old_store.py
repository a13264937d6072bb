"""A store that revision ebdb6cb wrote, before the packages were in rooms, is read bit for bit and goes on being used.

tests/results/old_store.zip is what this command left, without its report; old_store_rows.json is what that
revision's own load_results said of it:

    python -m orchestrator.grid run --recipe digits --executor inline --store STORE --set methods=retrain,ft
        --set archs=mlp --set widths.mlp=0.02 --set quantizers=4w4a --set data.limit.train=120
        --set data.limit.test=60 --set original.epochs=1 --set original.batch_size=32 --set retrain.epochs=1
        --set params.ft.epochs=1 --set search.trials=2 --set tracking.enabled=false --set seeds=1
"""

import json
import zipfile
from pathlib import Path

import pytest
import torch

from orchestrator import grid, load_model, load_results

STORED = Path(__file__).parents[2] / "results"


@pytest.fixture
def old_store(tmp_path):
    with zipfile.ZipFile(STORED / "old_store.zip") as archive:
        archive.extractall(tmp_path / "store")
    (tmp_path / "store" / "kept").mkdir(exist_ok=True)
    return tmp_path / "store"


def test_rows_are_those_that_the_old_code_read(old_store):
    rows = {
        row["key"]: row
        for row in json.loads(json.dumps(load_results(str(old_store)).to_dicts(), default=str))
    }
    expected = {row["key"]: row for row in json.loads((STORED / "old_store_rows.json").read_text())}
    assert rows.keys() == expected.keys()
    for key, row in expected.items():
        assert {name: rows[key][name] for name in row} == row


def test_nothing_is_left_to_do(old_store, capsys):
    assert grid.main(["plan", "--store", str(old_store), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["done"] == sum(facts["nodes"].values()) == 10
    assert facts["left"] == {}
    before = sorted((old_store / "manifests").iterdir())
    assert grid.main(["run", "--store", str(old_store), "--executor", "inline", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["computed"] == 0
    assert sorted((old_store / "manifests").iterdir()) == before


def test_margins_that_it_never_had_are_told_in_a_line_for_each_model(old_store, capsys):
    assert grid.main(["score", "--store", str(old_store), "--only", "margin_auc"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    evaluated = [row for row in load_results(str(old_store)).to_dicts() if row["kind"] == "evaluate"]
    assert "nothing left to score" in said
    for row in evaluated:
        assert (
            f"margin_auc: 1 row stays without it: margins.npz of node {row['model'][:12]} was never written"
            in said
        )


def test_a_model_opens(old_store):
    rows = load_results(str(old_store)).to_dicts()
    selected = next(row for row in rows if row["kind"] == "select")
    model = load_model(str(old_store), method=selected["method"], seed=1)
    assert all(torch.isfinite(p).all() for p in model.parameters())


def test_a_report_is_written(old_store):
    assert grid.main(["report", "--store", str(old_store)]) == 0
    assert "FT" in (old_store / "report" / "report.md").read_text()
