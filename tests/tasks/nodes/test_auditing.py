"""An audit of a finished grid: what it trains beside the models that are there, what it says, and what it misses."""

import io
import json
from types import SimpleNamespace

import numpy as np
import pytest

from core.errors import BadInput
from core.metrics.audit.attacks import ATTACKS
from core.seal import sealed, unsealed
from orchestrator.plan.grid_plan import make_plan
from orchestrator.run.scoring import score_store
from orchestrator.spec.specification import parse_spec
from tasks.job import Job, Place
from tasks.nodes.auditing import AUDIT, _Pair, _whole_pairs, audit
from tasks.nodes.dispatch import run_node
from tasks.nodes.result import MARGINS
from tasks.store.store import Store
from tests.one_problem import digits

CHOSEN = ("u_lira", "population", "tug_of_war")


def grid(models: int, attacks=CHOSEN):
    values = digits().model_dump(mode="json") | {
        "archs": ["mlp"],
        "quantizers": ["4w4a"],
        "widths": {"mlp": 0.02},
        "methods": ["retrain", "ft"],
        "ratios": [0.3],
        "original": {"epochs": 2, "batch_size": 32},
        "retrain": {"epochs": 2},
        "params": {"ft": {"epochs": 1, "batch_size": 32}},
        "data": {"limit": {"train": 150, "test": 60}},
        "search": {"trials": 2},
        "audit": {"models": models, "attacks": attacks} if models else {},
    }
    return make_plan(parse_spec(values))


def run_what_is_missing(plan, store: Store) -> list[str]:
    """Computes the nodes of a plan that a store lacks; returns their kinds."""
    finished, place = store.finished(), Place(store.uri)
    missing = [node for key, node in plan.nodes.items() if key not in finished]
    for node in missing:
        run_node(Job(node, place))
    return [node.kind for node in missing]


@pytest.fixture(scope="module")
def audited(tmp_path_factory) -> SimpleNamespace:
    """A finished grid, and then its audit by six models."""
    store = Store(str(tmp_path_factory.mktemp("audited")))
    first = run_what_is_missing(grid(0), store)
    plan = grid(6)
    return SimpleNamespace(store=store, plan=plan, first=first, then=run_what_is_missing(plan, store))


def row(audited, method: str):
    (key,) = (key for cell, key in audited.plan.audits.items() if cell.method == method)
    return audited.store.manifest(key).record


def test_the_models_that_are_there_count(audited):
    trained = {kind: audited.then.count(kind) for kind in ("original", "retrain", "trial", "audit")}
    assert trained == {"original": 5, "retrain": 5, "trial": 5, "audit": 2}
    assert len(audited.then) == sum(trained.values())
    assert run_what_is_missing(audited.plan, audited.store) == []


@pytest.mark.parametrize("method", ["original", "ft"])
def test_a_row_has_every_score_with_its_floor(audited, method):
    found = {score.name: score.value for score in row(audited, method).scores}
    assert found.pop("audit_models") == 6
    columns = [column for name in CHOSEN for column in ATTACKS[name].scores]
    ends = ("", "_floor", "_floor_low", "_floor_high")
    assert found.keys() == {column + end for column in columns for end in ends}
    for column in columns:
        assert found[f"{column}_floor_low"] <= found[f"{column}_floor"] <= found[f"{column}_floor_high"]


def test_images_are_kept_with_their_margins(audited):
    found = row(audited, "ft")
    with np.load(io.BytesIO(audited.store.read(found.key, AUDIT))) as kept:
        assert len(kept["image"]) == len(kept["u_lira"]) == found.forget_count
        assert kept["roc_population"].shape[1] == 2
        assert kept["pictures"].shape[:2] == (len(kept["pictured"]), 3)
        assert kept["u_lira"].max() == kept["u_lira"][kept["image"] == kept["pictured"][0]]
        own = audited.store.read(found.model, MARGINS)
        with np.load(io.BytesIO(own)) as margins:
            assert (kept["unlearned"] == margins["train"][kept["image"]]).all()


def test_shadows_say_so_and_keep_no_weights_that_nobody_reads(audited):
    for key, node in audited.plan.nodes.items():
        manifest = audited.store.manifest(key)
        assert manifest.record.shadow == node.inputs.get("shadow", {}).get("number")
        if "shadow" in node.inputs:
            assert ("model.safetensors" in manifest.files) == (node.kind == "original")
            assert MARGINS in manifest.files
    chosen = next(node for node in audited.plan.nodes.values() if node.kind == "select")
    shadow = next(n for n in audited.plan.nodes.values() if n.kind == "trial" and "shadow" in n.inputs)
    records = [audited.store.manifest(key).record for key in (chosen.key, shadow.key)]
    assert records[0].params == records[1].params


def test_another_attack_is_scored_without_training(audited):
    more, store = grid(6, (*CHOSEN, "klom")), audited.store
    found = score_store(store, Place(store.uri), ("klom",), plan=more)
    assert (found.computed, found.lacking, found.failed) == (2, {}, [])
    (key,) = (key for cell, key in more.audits.items() if cell.method == "ft")
    assert "klom_forget" in {score.name for score in store.manifest(key).record.scores}
    assert score_store(store, Place(store.uri), ("klom",), plan=more).computed == 0
    lacking = score_store(store, Place(store.uri), ("klom",), plan=grid(8)).lacking
    assert list(lacking["audit"]) == ["4 of the models that it reads are missing: run the grid"]


def without_margins(store: Store, key: str) -> None:
    """A manifest as code that kept no margins left it."""
    values = unsealed(store.get(f"manifests/{key}.json"))
    del values["files"][MARGINS]
    store.put(f"manifests/{key}.json", sealed(json.loads(json.dumps(values))))


def test_a_model_without_margins_is_evaluated_again_if_its_weights_are_there(audited):
    (key,) = (key for cell, key in audited.plan.audits.items() if cell.method == "original")
    node, store = audited.plan.nodes[key], audited.store
    expected = {score.name: score.value for score in row(audited, "original").scores}
    manifests = {part: store.get(f"manifests/{part}.json") for part in node.parents}
    try:
        without_margins(store, node.parents[2])
        found = audit(node, Place(store.uri), store)
        assert {s.name: s.value for s in found.row["scores"]} == pytest.approx(expected, rel=1e-3)
        without_margins(store, node.parents[3])  # a shadow's Retrain, which keeps no weights
        with pytest.raises(
            BadInput, match="never written, by the version that made it, and its weights were not"
        ):
            audit(node, Place(store.uri), store)
    finally:
        for part, data in manifests.items():
            store.put(f"manifests/{part}.json", data)


def test_a_shadow_that_failed_takes_the_other_of_its_pair_with_it():
    shadows = [_Pair(f"r{k}", f"u{k}") for k in range(7)]
    there = {key for pair in shadows for key in pair} - {"u3"}
    store = SimpleNamespace(manifests=lambda keys, broken: dict.fromkeys(there & set(keys)))
    assert [number for number, _ in _whole_pairs(shadows, store)] == [0, 1, 2, 5, 6]
    there -= {"r0"}
    with pytest.raises(BadInput, match="--retry-failed"):
        _whole_pairs(shadows, store)
