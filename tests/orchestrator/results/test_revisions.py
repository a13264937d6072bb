"""Rows of several revisions in one store: the newest are shown, the older ones are named."""

import dataclasses
import json
from xml.etree import ElementTree

import polars as pl
import pytest
from hypothesis import given, settings, strategies as st

from core.unlearn import METHODS
from orchestrator import grid, load_results
from orchestrator.plan.grid_plan import make_plan
from orchestrator.report.contents import read_grid
from orchestrator.report.writing import write_report
from orchestrator.results.reading import read_rows
from orchestrator.results.revisions import find_older, groups, notice
from orchestrator.run.maintenance import compact
from tasks.node import REVISIONS, make_node, revision_of
from tasks.store.store import Store
from tests.orchestrator.fake_results import Fake, small_spec
from tests.orchestrator.grid_command import write_spec


@pytest.fixture(params=["local", "memory"])
def store(request, tmp_path):
    return Store(str(tmp_path / "grid") if request.param == "local" else f"memory://{tmp_path.name}")


@pytest.fixture
def raised(monkeypatch):
    """Raises the revision of a stage or a method."""

    def up(name: str) -> None:
        if name in REVISIONS:
            monkeypatch.setitem(REVISIONS, name, REVISIONS[name] + 1)
        else:
            method = dataclasses.replace(METHODS[name], revision=METHODS[name].revision + 1)
            monkeypatch.setitem(METHODS, name, method)

    return up


def filled(store: Store, **changes) -> Fake:
    fake = Fake(store, small_spec(**changes))
    fake.fill()
    return fake


def older(store: Store, spec=None):
    return find_older(store, make_plan(spec or small_spec()), read_rows(store)[0])


def about(node) -> dict:
    return {name: value for name, value in node.inputs.items() if name != "method_revision"}


@pytest.mark.parametrize(
    ("name", "causes", "counts"),
    [
        ("trial", "trial revision 1, now 2", {"trial": 9, "evaluate": 9, "select": 3}),
        ("select", "select revision 1, now 2", {"select": 3}),
        ("evaluate", "evaluate revision 1, now 2", {"evaluate": 11, "select": 3}),
        ("qmul", "method qmul revision 1, now 2", {"trial": 3, "evaluate": 3, "select": 1}),
        ("retrain", "retrain revision 1, now 2", {"retrain": 1, "evaluate": 1, "select": 3}),
        ("original", "original revision 1, now 2", {"original": 1, "trial": 9, "evaluate": 10, "select": 3}),
        (
            "data",
            "data revision 1, now 2",
            {"data": 1, "original": 1, "retrain": 1, "trial": 9, "evaluate": 11, "select": 3},
        ),
    ],
)
def test_what_a_raised_revision_leaves_behind_is_older(store, raised, name, causes, counts):
    fake = filled(store)
    raised(name)
    plan, found = make_plan(fake.spec), older(store)
    assert found.keys() == fake.rows.keys() - plan.nodes.keys()
    assert {one.causes for one in found.values()} == {frozenset([causes])}
    for key, one in found.items():
        assert one.row["key"] == key
        assert plan.nodes[one.now].kind == fake.plan.nodes[key].kind
        assert about(plan.nodes[one.now]) == about(fake.plan.nodes[key])
    assert len({one.now for one in found.values()}) == len(found)
    ((said, kinds, where),) = groups(found)
    assert (said, kinds) == (causes, ", ".join(f"{count} {kind}" for kind, count in counts.items()))
    assert where.startswith("CIFAR-10")


def test_an_older_row_is_older_in_everything_that_was_raised(store, raised):
    filled(store)
    raised("trial")
    raised("trial")
    raised("qmul")
    found = older(store)
    assert notice(found) == (
        "21 rows in this store were made by an older revision"
        " (method qmul revision 1, now 2; trial revision 1, now 3) and left out of the tables"
    )
    assert [(causes, counts) for causes, counts, _ in groups(found)] == [
        ("method qmul revision 1, now 2; trial revision 1, now 3", "3 trial, 3 evaluate, 1 select"),
        ("trial revision 1, now 3", "6 trial, 6 evaluate, 2 select"),
    ]


def test_every_generation_is_older_than_the_last(store, raised):
    first = filled(store)
    raised("trial")
    second = filled(store)
    raised("trial")
    third = filled(store)
    found = older(store)
    assert found.keys() == (first.rows.keys() | second.rows.keys()) - third.rows.keys()
    assert {one.now for one in found.values()} <= third.rows.keys()
    assert [causes for causes, _, _ in groups(found)] == [
        "trial revision 1, now 3",
        "trial revision 2, now 3",
    ]


@pytest.mark.parametrize(
    "changes",
    [
        {"datasets": ("svhn",)},
        {"seeds": (2,)},
        {"ratios": (0.3,)},
        {"quantizers": ("fp",)},
        {"validation": 0.2},
        {"original": {"epochs": 3}},
        {"params": {"qmul": {"epochs": 3}}},
        {"search": {"trials": 2}},
        {"methods": ("retrain", "ga")},
    ],
    ids=str,
)
def test_rows_of_another_grid_are_not_older(store, raised, changes):
    """But for what they share with this grid, also where they, too, were made before a revision was raised."""
    other, before = filled(store, **changes), make_plan(small_spec()).nodes.keys()
    assert older(store) == {}
    raised("trial")
    now = make_plan(small_spec()).nodes.keys()
    assert older(store).keys() == (other.rows.keys() & before) - now


def test_an_older_selection_that_passed_over_failed_trials_is_still_known(store, raised):
    fake = Fake(store, small_spec())
    fake.fill(fail=lambda node: node.kind == "trial" and node.inputs["tried"] == "lr 0.1")
    assert any(row.status == "failed" for row in fake.rows.values())
    raised("evaluate")
    done = {key for key, row in fake.rows.items() if row.status == "done"}
    assert older(store).keys() == done - make_plan(fake.spec).nodes.keys()


def test_rows_of_later_revisions_are_not_older(store, monkeypatch):
    with monkeypatch.context() as later:
        later.setitem(REVISIONS, "trial", 2)
        later.setitem(METHODS, "ft", dataclasses.replace(METHODS["ft"], revision=3))
        filled(store)
    assert older(store) == {}


def test_merged_rows_are_told_apart_too(store, raised):
    filled(store)
    raised("trial")
    before = older(store)
    compact(store)
    assert older(store).keys() == before.keys()


def test_nothing_is_read_for_a_store_without_older_rows(store, monkeypatch):
    filled(store)
    filled(store, datasets=("svhn",))
    rows = read_rows(store)[0]
    monkeypatch.setattr(Store, "get_many", None)
    assert find_older(store, make_plan(small_spec()), rows) == {}


class TestReport:
    def text(self, store, name) -> str:
        return store.get(f"report/{name}").decode()

    def test_a_store_without_older_rows_says_nothing(self, store):
        fake = filled(store)
        write_report(store, fake.spec, fake.plan)
        for name in ("report.md", "index.html"):
            assert "older revision" not in self.text(store, name)
        assert notice({}) == ""

    def test_an_old_figure_is_never_shown_for_a_new_one(self, store, raised):
        """While the newest is unfinished, its cell is a hole that says so."""
        filled(store)
        raised("qmul")
        spec = small_spec()
        (table,) = read_grid(store, spec, make_plan(spec)).tables
        holes = {line.method: line.hole for line in table.lines}
        assert holes["qmul"] == "missing: made by an older revision only"
        assert not any(hole for method, hole in holes.items() if method != "qmul")
        new = Fake(store, spec)
        *_, last = (node for node in new.plan.nodes.values() if node.kind == "trial")
        new.fill(skip=lambda node: node.kind == "select" or node == last)
        (table,) = read_grid(store, spec, make_plan(spec)).tables
        assert table.lines[-1].hole == "unfinished: 2 of 3 trials done; finished by an older revision only"

    def test_tables_hold_the_newest_figures_and_the_page_names_the_rest(self, store, raised):
        first = filled(store)
        raised("trial")
        new = filled(store)
        write_report(store, new.spec, new.plan)
        (table,) = read_grid(store, new.spec, new.plan).tables
        for line in table.lines[2:]:
            (key,) = (key for cell, key in new.plan.cells.items() if cell.method == line.method)
            assert key not in first.rows
            assert line.figures["fa"].mean == new.rows[key].fa
        said = "21 rows in this store were made by an older revision (trial revision 1, now 2)"
        detail = (
            "trial revision 1, now 2: 9 trial, 9 evaluate, 3 select: "
            "CIFAR-10 · ResNet-18 · 4w4a · random 10 % · FT, SalUn, Q-MUL · seed 1"
        )
        page = "".join(ElementTree.fromstring(self.text(store, "index.html")).itertext())
        for text in (page, self.text(store, "report.md")):
            assert said in text
            assert detail in text

    def test_results_name_what_takes_an_older_rows_place(self, store, raised):
        first = filled(store)
        filled(store, datasets=("svhn",))
        raised("trial")
        new = filled(store)
        write_report(store, new.spec, new.plan)
        frame = pl.read_parquet(store.get("report/results.parquet"))
        assert frame.drop("superseded_by").equals(load_results(store.address))
        replaced = dict(
            frame.filter(pl.col("superseded_by").is_not_null()).select("key", "superseded_by").rows()
        )
        assert replaced.keys() == first.rows.keys() - new.rows.keys()
        assert set(replaced.values()) == new.rows.keys() - first.rows.keys()

    def test_the_command_says_it_in_one_line(self, tmp_path, raised, capsys):
        fake = filled(Store(str(tmp_path / "grid")))
        raised("qmul")
        arguments = ["report", "--spec", str(write_spec(tmp_path, fake.spec)), "--store", fake.store.address]
        assert grid.main(arguments) == 0
        said = capsys.readouterr().out
        (line,) = (line for line in said.splitlines() if "older revision (" in line)
        assert line == notice(older(fake.store))
        assert "Q-MUL: missing: made by an older revision only" in said
        assert grid.main([*arguments, "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["older"] == sorted(older(fake.store))


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(sorted(REVISIONS)), st.integers(1, 5), st.integers(1, 5), st.integers(0, 9))
def test_the_revision_of_a_node_is_found_in_its_key(kind, made, now, value):
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(REVISIONS, kind, made)
        node = make_node(kind, ("a",), {"x": value})
        patch.setitem(REVISIONS, kind, now)
        assert revision_of(node) == (made if made <= now else None)
