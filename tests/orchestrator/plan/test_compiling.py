"""Whose training is compiled."""

import pytest
from rich.console import Console

from core.errors import BadInput
from core.train.forward import plain
from orchestrator.cli.launch import run
from orchestrator.cli.options import Options
from orchestrator.environment import make_place
from orchestrator.plan.costs.compiling import compiled_archs
from orchestrator.plan.costs.estimate import CostModel
from orchestrator.plan.costs.paces import Compiling, pace_of
from orchestrator.plan.grid_plan import make_plan
from orchestrator.spec.overrides import with_overrides
from tasks.nodes import warm
from tasks.store.store import Store

ARCHS = frozenset({"resnet18"})


def cost(compiling):
    """A CPU's pace, with one network's compiling measured."""
    pace = pace_of("cpu")
    networks = {arch: found.model_copy(update={"compiling": None}) for arch, found in pace.networks.items()}
    networks["resnet18"] = networks["resnet18"].model_copy(update={"compiling": compiling})
    return CostModel(pace.model_copy(update={"networks": networks}))


def compiled(tiny, compiling, *overrides):
    spec = with_overrides(tiny.model_dump(mode="json"), list(overrides))
    return compiled_archs(spec, make_plan(spec), cost(compiling))


def test_on_and_off_are_orders(tiny):
    quick = Compiling(seconds=1e-9, ratio=0.5)
    assert compiled(tiny, None, "resources.compile=on") == set(tiny.archs)
    assert compiled(tiny, quick, "resources.compile=off") == set()


def saved(tiny):
    """Seconds for each of 64 workers, at three quarters of the plain steps."""
    kinds = ("original", "retrain", "trial")
    return sum(cost(None).work(n) for n in make_plan(tiny).nodes.values() if n.kind in kinds) * 0.25 / 64


def test_auto_compiles_what_is_measured_to_gain_more_than_it_costs_64_workers(tiny):
    assert compiled(tiny, None) == set()
    assert compiled(tiny, Compiling(seconds=saved(tiny) * 0.99, ratio=0.75)) == {"resnet18"}
    assert compiled(tiny, Compiling(seconds=saved(tiny) * 1.01, ratio=0.75)) == set()
    assert compiled(tiny, Compiling(seconds=1e-9, ratio=1.01)) == set()


def test_a_quantization_is_compiled_for_itself_and_a_seed_is_not(tiny):
    dear = Compiling(seconds=saved(tiny) * 1.5, ratio=0.75)
    assert compiled(tiny, dear, "seeds=1,2") == {"resnet18"}
    assert compiled(tiny, dear, "quantizers=4w4a,fp") == set()


@pytest.mark.parametrize("mode", ["halving", "asha"])
def test_a_search_counts_by_what_it_will_train(tiny, mode):
    quick, slow = (Compiling(seconds=s, ratio=0.5) for s in (1e-4, 1e4))
    assert compiled(tiny, quick, f"search.mode={mode}") == {"resnet18"}
    assert compiled(tiny, slow, f"search.mode={mode}") == set()


def test_auto_does_without_a_compiler_where_there_is_none_and_on_does_not(tiny, monkeypatch):
    def refuse(_device):
        raise BadInput("no compiler here")

    monkeypatch.setattr(warm, "compiled", refuse)
    places = {
        way: make_place(
            with_overrides(tiny.model_dump(mode="json"), [f"resources.compile={way}"]), "store", ARCHS
        )
        for way in ("auto", "on")
    }
    assert warm.forward_of(places["on"], "mobilenetv2") is plain
    with pytest.warns(UserWarning, match="no compiler here"):
        assert warm.forward_of(places["auto"], "resnet18") is plain
    with pytest.raises(BadInput, match="no compiler here"):
        warm.forward_of(places["on"], "resnet18")


@pytest.mark.slow
def test_a_compiled_grid_ends_as_the_plain_one_and_compiling_is_in_no_run_time(tiny, tmp_path, monkeypatch):
    """Two methods on digits that every network learns; the rows say that they are a compiled network's."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "code"))
    found = {}
    for way in ("off", "on"):
        changes = [f"resources.compile={way}", "methods=retrain,ft", f"data.cache={tmp_path}"]
        spec = with_overrides(tiny.model_dump(mode="json"), changes)
        store = Store(str(tmp_path / way))
        assert run(spec, store, Options(executor="inline"), Console(quiet=True)) == 0
        found[way] = {m.record.key: m.record for m in store.manifests(sorted(store.finished()), {}).values()}
    assert found["off"].keys() == found["on"].keys()
    trained = [record for record in found["on"].values() if record.kind in ("original", "retrain", "trial")]
    assert all(record.versions.endswith(", compiled") for record in trained)
    first = max(trained, key=lambda record: record.node_seconds)
    assert first.seconds < first.node_seconds / 2
    for key, record in found["on"].items():
        if record.kind == "evaluate":
            assert record.ta == pytest.approx(found["off"][key].ta, abs=15)
