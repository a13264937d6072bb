"""Variants that differ in one option alone: which make a series, where their points lie, and the chart's rows."""

import csv
import io

import pytest

from orchestrator.report.charts.page import make_charts
from orchestrator.report.contents import read_grid
from orchestrator.report.option_series import all_series
from orchestrator.report.writing import write_report
from orchestrator.spec.specification import SearchSpec
from tasks.store.store import Store
from tests.orchestrator.fake_results import Fake, small_spec

A = "amnesiac:affected=0.1"
SHARES = (A, f"{A}:fraction=0.01", f"{A}:fraction=0.5")
AFFECTED = ("amnesiac:affected=0.05:fraction=0.5", "amnesiac:fraction=0.5")  # and the last of SHARES


def filled(*methods, skip=lambda node: False, **changes):
    store = Store("memory://series")
    store.remove("")
    settings = {"search": SearchSpec(trials=1)} | changes
    fake = Fake(store, small_spec(methods=("retrain", *methods), **settings))
    fake.fill(skip=skip)
    return fake, read_grid(store, fake.spec, fake.plan)


def series(*methods, **changes):
    _, found = filled(*methods, **changes)
    return all_series(found.entries, found.rows)


def charts(found):
    return make_charts(found)


def names(made):
    return [[shown.name for shown in problem] for problem in made.problems]


class TestSeries:
    def test_an_option_left_at_its_default_counts_with_what_the_method_ran_with(self):
        (found,) = series(*SHARES, seeds=(1, 2))
        assert (found.option, found.along, found.label) == ("fraction", "fraction", A)
        at = [(found.at(p), p.entry.cell.seed) for p in found.points]
        assert at == [(1.0, 1), (0.01, 1), (0.5, 1), (1.0, 2), (0.01, 2), (0.5, 2)]

    def test_points_lie_at_what_was_measured_where_all_tell_it(self):
        found = series(SHARES[2], *AFFECTED)
        (affected,) = found
        assert (affected.along, affected.label) == ("affected_share", "amnesiac:fraction=0.5")
        assert sorted((affected.at(p), p.asked or 9) for p in affected.points) == [
            (0.1, 0.05), (0.1, 0.1), (1.0, 9),
        ]  # fmt: skip

    def test_each_point_knows_the_network_that_it_changed_and_what_was_recorded(self):
        fake, found = filled(*SHARES)
        (one,) = all_series(found.entries, found.rows)
        for point in one.points:
            trial = fake.plan.nodes[fake.rows[point.entry.key].model]
            assert fake.rows[point.original["key"]].model == trial.parents[1]
            assert point.stored == pytest.approx(2e8 * 0.1 * one.at(point))

    @pytest.mark.parametrize(
        "methods",
        [
            SHARES[:2],  # two settings
            (A, f"{A}:fraction=0.5", "amnesiac:affected=0.2:fraction=0.1"),  # another option differs too
            ("amnesiac:storage=sum", "amnesiac:storage=batches", "amnesiac:selection=random"),  # no numbers
            ("label_flip", "label_flip:fraction=1", "label_flip:fraction=0.5"),  # searched in the first
            ("ft", "salun", "qmul"),
        ],
    )
    def test_anything_else_is_no_series(self, methods):
        assert series(*methods, search=SearchSpec(trials=3)) == []

    def test_a_method_whose_original_is_any_other_one(self):
        (found,) = series(*(f"label_flip:fraction={share}" for share in (0.1, 0.5, 1)))
        assert {p.original["method"] for p in found.points} == {"original"}
        assert {p.stored for p in found.points} == {None}

    def test_what_is_not_there_is_left_out(self):
        def half(node):
            return node.inputs.get("method") == "amnesiac" and node.inputs["params"]["fraction"] == 0.5

        assert series(*SHARES, skip=half) == []
        (found,) = series(*SHARES, f"{A}:fraction=0.25", skip=half)
        assert {p.asked for p in found.points} == {1.0, 0.01, 0.25}


class TestChart:
    def test_rows_are_seeds_and_their_means_at_the_measured_share(self):
        fake, found = filled(*SHARES, *AFFECTED, seeds=(1, 2, 3))
        made = charts(found)
        rows = made.data["1"]["options"]
        assert len(rows) == (3 + 3) * (3 + 1)
        (mean,) = (
            row for row in rows if row["state"] == "mean" and row["along"] == "fraction" and row["at"] == 0.01
        )
        assert (mean["method"], mean["variant"]) == (
            "Amnesiac (affected 0.1)",
            "Amnesiac (affected 0.1, fraction 0.01)",
        )
        assert (mean["seeds"], mean["stored"]) == (
            3,
            0.2,
        )  # 2e8 bytes of a tenth of the batches, a hundredth of each
        seeds = [row for row in rows if row["state"] == "seed" and row["variant"] == mean["variant"]]
        keys = {cell.seed: fake.plan.cells[cell] for cell in fake.plan.cells if cell.method == SHARES[1]}
        for row in seeds:
            assert row["ta"] == pytest.approx(fake.rows[keys[row["seed"]]].ta, abs=1e-4)
        assert mean["ta"] == pytest.approx(sum(row["ta"] for row in seeds) / 3, abs=1e-4)
        assert mean["ta_text"].startswith(f"{mean['ta']:.2f} ± ")
        assert {row["at"] for row in rows if row["along"] == "affected_share"} == {0.1, 1.0}

    def test_levels_of_retrain_and_originals_in_words(self):
        _, found = filled(*SHARES)
        (level,) = charts(found).data["1"]["levels"]
        (retrain,) = (e.row["ta"] for e in found.entries if e.cell.method == "retrain")
        before = [e.row["ta"] for e in found.entries if e.cell.method.startswith("original:")]
        low, high = f"{min(before):.1f}", f"{max(before):.1f}"
        said = low if low == high else f"{low}–{high}"
        assert level["ta"].split() == f"- - Retrain {retrain:.1f} ··· original {said}".split()
        assert level["ef"] == ""

    def test_appears_where_there_is_a_series_and_nowhere_else(self):
        _, found = filled(*SHARES, ratios=(0.1, 0.3))
        made = charts(found)
        assert all("options" in shown for shown in names(made))
        assert made.specs["options"]
        _, found = filled(*SHARES[:2])
        made = charts(found)
        assert "options" not in made.specs
        assert "options" not in names(made)[0]

    def test_panels_are_what_the_problems_have(self):
        def titles(made):
            lines = made.specs["options"]["vconcat"]
            return [
                [panel["layer"][-1]["encoding"]["y"]["title"] for panel in line["concat"]] for line in lines
            ]

        flips = [f"label_flip:fraction={share}" for share in (0.1, 0.5, 1)]
        assert titles(charts(filled(*flips)[1])) == [["TA, %", "FA, %"]]
        made = charts(filled(*SHARES, *AFFECTED, classes=(3,))[1])
        storage = "Recorded, MB"
        assert titles(made) == [
            ["A_R (TA), %", "E_F, %", f"{storage} (logarithmic)"],
            ["A_R (TA), %", "E_F, %", storage],
        ]


def test_a_csv_has_the_points_where_there_are_any():
    fake, found = filled(*SHARES, seeds=(1, 2))
    write_report(fake.store, fake.spec, fake.plan, (), found)
    read = list(csv.DictReader(io.StringIO(fake.store.get("report/options.csv").decode())))
    assert len(read) == 3 * 2
    for line in read:
        row = fake.rows[line["key"]]
        assert (float(line["ta"]), line["series"], line["option"]) == (row.ta, A, "fraction")
        assert float(line["recorded_bytes"]) == pytest.approx(2e7 * float(line["asked"]))
        assert fake.rows[line["original"]].method.startswith("original:amnesiac")
    fake, found = filled("ft")
    fake.store.put("report/options.csv", b"an earlier report's")
    write_report(fake.store, fake.spec, fake.plan, (), found)
    assert not fake.store.exists("report/options.csv")
