"""A grid that grows: what is finished stays as it is, and only what is new is computed."""

import json

import pytest
from hypothesis import given, settings, strategies as st

from orchestrator import grid
from orchestrator.plan.grid_plan import make_plan
from orchestrator.results.reading import read_rows
from orchestrator.spec.specification import GridSpec
from tasks.nodes import dispatch
from tasks.store.store import Store
from tests.chaos.stub import LOG, STUBS
from tests.one_problem import digits
from tests.orchestrator.grid_command import write_spec

# an axis and the values that may be on it
AXES = {
    "datasets": ("cifar10", "svhn", "cifar100"),
    "archs": ("resnet18", "mobilenetv2"),
    "quantizers": ("4w4a", "2w2a", "fp"),
    "ratios": (0.1, 0.3, 0.5),
    "methods": ("retrain", "ft", "ga", "qmul", "qmul:order=sequential"),
    "seeds": (1, 2, 3),
}
INPUT = {"datasets": "dataset", "archs": "arch", "quantizers": "quant", "ratios": "amount", "seeds": "seed"}


def spec(**changes) -> GridSpec:
    small = {axis: values[:1] for axis, values in AXES.items()} | {"methods": ("retrain", "ft")}
    values = digits().model_dump(mode="json") | small
    values |= {"data": {}, "widths": {}, "search": {"trials": 2}, "tracking": {"enabled": False}}
    return GridSpec.model_validate(values | changes)


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Runs a grid whose nodes take no time on the test's store; returns the keys of the nodes that were begun."""
    log = tmp_path / "log"
    monkeypatch.setenv(LOG, str(log))
    monkeypatch.setenv("STUB_SECONDS", "0")
    for kind, stub in STUBS.items():
        monkeypatch.setitem(dispatch._FUNCTIONS, kind, stub)

    def call(wanted: GridSpec) -> list[str]:
        log.write_text("")
        file = write_spec(tmp_path, wanted)
        arguments = [
            "--spec",
            str(file),
            "--store",
            str(tmp_path / "store"),
            "--executor",
            "inline",
            "--json",
        ]
        assert grid.main(["run", *arguments]) == 0
        return [line.split()[1] for line in log.read_text().splitlines() if line.startswith("start ")]

    return call


def contents(store: Store) -> dict[str, bytes]:
    """Every file that finished nodes left."""
    folders = ("manifests", "parts", "artifacts", "kept")
    return {
        f"{folder}/{name}": store.get(f"{folder}/{name}")
        for folder in folders
        for name in store.sizes(folder)
    }


def test_adding_a_ratio_a_seed_and_a_data_set_computes_only_the_new_nodes(run, tmp_path, capsys):
    store, grown, changes = Store(str(tmp_path / "store")), spec(), {}
    assert sorted(run(grown)) == sorted(make_plan(grown).nodes)
    for axis, values in (("ratios", (0.1, 0.3)), ("seeds", (1, 2)), ("datasets", ("cifar10", "svhn"))):
        before, files = make_plan(grown).nodes.keys(), contents(store)
        changes[axis] = values
        grown = spec(**changes)
        capsys.readouterr()
        begun = run(grown)
        assert sorted(begun) == sorted(make_plan(grown).nodes.keys() - before)
        assert json.loads(capsys.readouterr().out)["computed"] == len(begun)
        assert files.items() <= contents(store).items()
        assert store.finished() == make_plan(grown).nodes.keys()
    assert run(grown) == []
    rows, warnings = read_rows(store)
    assert warnings == []
    assert {row["key"] for row in rows} == store.finished()


@pytest.mark.parametrize("axis", AXES)
def test_whatever_axis_grows_or_shrinks_nothing_is_computed_twice(run, tmp_path, axis):
    store, small, large = Store(str(tmp_path / "store")), spec(), spec(**{axis: AXES[axis]})
    run(small)
    files = contents(store)
    begun = run(large)
    assert sorted(begun) == sorted(make_plan(large).nodes.keys() - make_plan(small).nodes.keys())
    assert files.items() <= contents(store).items()
    assert run(small) == []


@st.composite
def grown(draw) -> tuple[str, object, GridSpec, GridSpec]:
    """An axis, a value, a grid without it and the same grid with it."""
    values = {
        axis: draw(st.lists(st.sampled_from(all_), min_size=1, unique=True)) for axis, all_ in AXES.items()
    }
    values["quantizers"], values["methods"] = values["quantizers"][:1], values["methods"][:2]
    values |= {"validation": draw(st.sampled_from((0.1, 0.2))), "search": {"trials": draw(st.integers(1, 3))}}
    axis = draw(st.sampled_from(sorted(AXES)).filter(lambda axis: len(values[axis]) < len(AXES[axis])))
    value = draw(st.sampled_from([v for v in AXES[axis] if v not in values[axis]]))
    return axis, value, spec(**values), spec(**values | {axis: [*values[axis], value]})


@settings(max_examples=40, deadline=None)
@given(grown())
def test_a_grid_with_one_more_value_has_the_nodes_of_the_grid_without_it(case):
    axis, value, small, large = case
    before, after = make_plan(small), make_plan(large)
    assert before.nodes.items() <= after.nodes.items()
    assert before.cells.items() <= after.cells.items()
    new = [node for key, node in after.nodes.items() if key not in before.nodes]
    assert new or value == "retrain"  # which is there as every method's reference
    if axis in INPUT:
        assert {node.inputs[INPUT[axis]] for node in new} == {value}
