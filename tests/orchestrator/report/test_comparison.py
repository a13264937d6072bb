"""Two grids beside each other: what moved by more than the noise, what only one has, and what cannot be compared."""

import csv
import io
import json
from statistics import fmean
from xml.etree import ElementTree

import pytest
from rich.console import Console

from core.errors import BadInput
from core.metrics.gap import FIGURES
from orchestrator import grid
from orchestrator.report.comparison.grids import COMPARED, compare, compare_stores, figure_floors
from orchestrator.report.comparison.text import COLUMNS, against_markdown, cells, print_against
from orchestrator.report.contents import GridContents, read_grid
from orchestrator.report.noise import noise_floor
from orchestrator.report.tabulation import tables_of
from orchestrator.report.writing import write_report
from orchestrator.results.entries import collect
from tasks.store.store import Store
from tests.orchestrator.fake_results import Fake, small_spec


def filled(folder, **changes) -> Fake:
    fake = Fake(Store(str(folder)), small_spec(**changes))
    fake.store.put("spec.json", fake.spec.model_dump_json().encode())
    fake.fill()
    return fake


def found_of(fake, change=lambda row: None) -> GridContents:
    rows = {record.key: record.model_dump() for record in fake.rows.values()}
    for row in rows.values():
        change(row)
    entries = collect(fake.plan, rows.values())
    return GridContents(list(rows.values()), rows, [], {}, entries, tables_of(fake.spec, entries, rows), [])


def shift(method, name, by):
    def change(row):
        if row["method"] == method and row["kind"] in ("select", "evaluate") and row[name] is not None:
            row[name] += by

    return change


@pytest.fixture
def several(tmp_path):
    return filled(tmp_path / "here", seeds=(1, 2, 3))


def by_method(result):
    return {change.at.method: change for change in result.changes}


def test_a_grid_against_itself_has_not_moved(several):
    result = compare(found_of(several), found_of(several), ("a", "b"))
    assert [change.at.method for change in result.changes] == ["original", "retrain", "ft", "salun", "qmul"]
    assert result.moved == []
    assert result.verdict == "0 of 5 moved by more than the noise"
    assert all(d.change == 0 for change in result.changes for d in change.figures.values())
    assert (result.only_here, result.only_there) == ((), ())


@pytest.mark.parametrize("name", COMPARED)
def test_a_figure_moves_where_it_changes_by_more_than_its_floor(several, name):
    floors = by_method(compare(found_of(several), found_of(several), ("a", "b")))["qmul"].floors
    for by, moved in ((floors[name] + 0.02, True), (floors[name] - 0.02, False)):
        result = compare(found_of(several, shift("qmul", name, by)), found_of(several), ("a", "b"))
        found = by_method(result)["qmul"]
        assert found.figures[name].change == pytest.approx(by)
        assert (found.figures[name].moved, found.moved) == (moved, moved)
        assert [change.at.method for change in result.moved] == (["qmul"] if moved else [])


def test_the_floor_is_the_larger_one_and_at_least_agreed_on_by_retrains(several):
    wider = found_of(several, lambda row: row.update(mia=row["mia"] * row["seed"]) if row["mia"] else None)
    floors = by_method(compare(found_of(several), wider, ("a", "b")))["ft"].floors
    retrains = [e.row for e in wider.entries if e.cell.method == "retrain"]
    assert floors == figure_floors(retrains)
    assert floors["ag"] == noise_floor(retrains).mean
    assert floors["mia"] > floors["ag"] == floors["ra"]


def test_with_one_seed_nothing_is_judged(tmp_path):
    one = filled(tmp_path / "one")
    result = compare(found_of(one, shift("ft", "fa", 30.0)), found_of(one), ("a", "b"))
    assert {change.moved for change in result.changes} == {None}
    assert "5 cannot be judged" in result.verdict
    assert "!" not in "".join(text for change in result.changes for text in cells(change))


def test_means_are_over_common_seeds_and_the_interval_is_paired(several, tmp_path):
    two = filled(tmp_path / "there", seeds=(2, 3, 4))
    found = by_method(compare(found_of(several), found_of(two), ("a", "b")))["ft"]
    assert found.seeds == (2, 3)
    for name in FIGURES:
        values = [
            several.rows[k] for c, k in several.plan.cells.items() if c.method == "ft" and c.seed in (2, 3)
        ]
        assert found.figures[name].here == fmean(getattr(row, name) for row in values)
    assert found.interval == pytest.approx(0.0)  # the same rows


def test_what_one_grid_alone_has_is_listed(several, tmp_path):
    other = filled(tmp_path / "there", seeds=(1, 2), methods=("retrain", "ft", "ga"), ratios=(0.1, 0.3))
    result = compare(found_of(several), found_of(other), ("a", "b"))
    assert {name.rpartition(" · ")[2] for name in result.only_here} == {"SalUn", "Q-MUL"}
    assert "CIFAR-10 · ResNet-18 · 4w4a · random 30 % · GA" in result.only_there


def test_settings_that_differ_are_named(several, tmp_path):
    other = filled(tmp_path / "there", seeds=(1, 2), search={"trials": 2}, retrain={"epochs": 3})
    result = compare_stores(several.store, found_of(several), several.spec, other.store.uri)
    assert result.terms == ("search.trials: 3 here, 2 there", "retrain.epochs: unset here, 3 there")


def refused(several, other):
    with pytest.raises(BadInput) as error:
        compare_stores(several.store, found_of(several), several.spec, other)
    return str(error.value)


def test_nothing_in_common_says_what_each_holds(several, tmp_path):
    other = filled(tmp_path / "there", datasets=("svhn",), methods=("retrain", "rl"))
    line = refused(several, other.store.uri)
    assert "svhn / resnet18 4w4a / random 10 % / seed 1 / original, retrain, rl" in line
    assert "cifar10 / " in line
    assert "share a data set" in line


def test_a_store_without_a_grid_and_the_store_itself_are_refused(several, tmp_path):
    assert "no grid in" in refused(several, str(tmp_path / "nowhere"))
    (tmp_path / "empty").mkdir()
    assert "name a store" in refused(several, str(tmp_path / "empty"))
    assert "is the store itself" in refused(several, several.store.uri)


def test_an_empty_grid_has_nothing_in_common(several, tmp_path):
    empty = Fake(Store(str(tmp_path / "there")), several.spec)
    empty.store.put("spec.json", several.spec.model_dump_json().encode())
    assert "no finished cell" in refused(several, empty.store.uri)


@pytest.fixture
def moved(several):
    return compare(found_of(several, shift("qmul", "mia", 40.0)), found_of(several), (several.store.uri, "b"))


@pytest.mark.parametrize("width", [80, 120])
def test_the_terminal_marks_what_moved(moved, width):
    console = Console(width=width, file=io.StringIO())
    print_against(console, moved)
    text = console.file.getvalue()
    assert max(map(len, text.splitlines())) <= width
    (line,) = (line for line in text.splitlines() if line.startswith("Q-MUL"))
    assert "+40.00!" in line
    assert text.count("!") == 1 + 1  # and in the key
    assert "…" not in text


def test_every_file_of_the_report_has_it_and_a_later_report_has_not(several, moved):
    files = write_report(several.store, several.spec, several.plan, against=moved)
    page, text, table = (
        several.store.get(f"report/{n}").decode() for n in ("index.html", "report.md", "against.csv")
    )
    words = "".join(ElementTree.fromstring(page).itertext())
    assert "1 of 5 moved by more than the noise" in words
    assert against_markdown(moved) in text
    for grid_lines in text.split("\n\n"):
        if "| AG here |" in grid_lines:
            assert len({line.count("|") for line in grid_lines.splitlines()}) == 1
    read = {row["method"]: row for row in csv.DictReader(io.StringIO(table))}
    assert tuple(read["qmul"]) == COLUMNS
    assert (read["qmul"]["mia_moved"], read["qmul"]["moved"], read["ft"]["moved"]) == (
        "true",
        "true",
        "false",
    )
    assert float(read["qmul"]["mia_difference"]) == pytest.approx(40.0)
    assert read["retrain"]["ag_here"] == ""
    write_report(several.store, several.spec, several.plan)
    assert not several.store.exists("report/against.csv")
    assert "moved by more" not in several.store.get("report/index.html").decode()
    assert files.html.endswith("index.html")


def test_the_command_compares_two_stores(several, tmp_path, capsys):
    other = filled(tmp_path / "there", seeds=(1, 2))
    arguments = ["report", "--store", several.store.uri, "--against", other.store.uri]
    assert grid.main([*arguments, "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)["against"]
    assert {change["method"] for change in facts["changes"]} == {"original", "retrain", "ft", "salun", "qmul"}
    assert facts["changes"][0]["seeds"] == [1, 2]
    assert grid.main(arguments) == 0
    assert f"Against {other.store.uri}" in capsys.readouterr().out
    assert grid.main(["status", "--store", several.store.uri, "--against", other.store.uri]) == 2
    assert "--against belongs to report" in capsys.readouterr().err
    assert read_grid(other.store, other.spec, other.plan).repairs == []
