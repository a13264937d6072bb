"""Who may be called best: intervals against scipy and by hand, and what is said where nothing is told apart."""

import csv
import io
import math
import re

import pytest
from rich.console import Console
from scipy.stats import binomtest, t

from orchestrator.report.image_noise import (
    ag_half,
    difference_half,
    figure_half,
    figure_interval,
    gap_half,
    over_seeds,
    wilson,
)
from orchestrator.report.sentence import quotable
from orchestrator.report.tabulation import build_tables
from orchestrator.report.writing import print_tables, write_report
from orchestrator.results.reading import read_rows
from tasks.record import Record
from tasks.store.store import Store
from tests.orchestrator.fake_results import Fake, small_spec

COUNTS = {"forget_count": 130, "retain_count": 170, "test_count": 360}


def row(fa, ra, ta, mia, **counts):
    return {"fa": fa, "ra": ra, "ta": ta, "mia": mia} | COUNTS | counts


@pytest.mark.parametrize(("right", "count"), [(0, 7), (7, 7), (65, 130), (129, 130), (4497, 4500)])
def test_wilsons_interval_is_scipys(right, count):
    expected = binomtest(right, count).proportion_ci(method="wilson")
    assert wilson(100 * right / count, count) == pytest.approx((100 * expected.low, 100 * expected.high))


def test_a_figure_without_a_count_has_no_interval():
    without = row(90, 90, 90, 90, test_count=None)
    assert figure_interval(without, "ta") is None
    assert figure_half(without, "ta") is None
    assert ag_half(without, without) is None
    assert over_seeds([1.0, None]) is None
    assert over_seeds([]) is None


def test_arms_cover_the_interval_and_join_square_and_add():
    one, retrain = row(100, 100, 90, 5), row(90, 100, 91, 12)
    low, high = figure_interval(one, "fa")
    assert (100 - low, high) == (pytest.approx(figure_half(one, "fa")), pytest.approx(100))
    halves = {name: gap_half(one, retrain, name) for name in ("fa", "ra", "ta", "mia")}
    assert halves["fa"] == pytest.approx(math.hypot(figure_half(one, "fa"), figure_half(retrain, "fa")))
    # FA and the attack look at the same images: added
    assert ag_half(one, retrain) == pytest.approx(
        math.hypot(halves["fa"] + halves["mia"], halves["ra"], halves["ta"]) / 4
    )
    assert over_seeds([3.0, 4.0]) == 2.5


def test_retrain_cancels_from_a_difference_on_the_same_side_of_it():
    retrain = row(90, 100, 90, 20)
    above, further, below = (row(fa, 99, 89, 10) for fa in (95, 97, 85))
    same = difference_half(above, further, retrain)
    assert same < difference_half(above, below, retrain)
    unknown = row(90, 100, 90, 20, forget_count=None)
    assert difference_half(above, further, unknown) is None


# By seed: AG is set by figures, Retrain (90, 100, 90, 20) but for its seed's own noise.
def figures_of(ag, seed, noise=0.0):
    """FA and TA off by twice the AG, so that their mean over four is it; noise shifts by seed."""
    shift = noise * (seed - 2)
    return {"fa": 90 + 2 * (ag + shift), "ra": 100.0, "ta": 90 - 2 * (ag + shift), "mia": 20.0}


def grid(ags, seeds=(1, 2, 3), counts=None, noise=None, **changes):
    """A store with methods at the given AGs. noise: by method, in AG points per seed."""
    store = Store("memory://verdict")
    store.remove("")
    methods = tuple(name for name in ags if name != "original")
    fake = Fake(store, small_spec(seeds=seeds, methods=("retrain", *methods), **changes))
    fake.fill()
    rows = [record.model_dump() for record in fake.rows.values()]
    for one in rows:
        if one["kind"] in ("evaluate", "select"):
            ag = 0.0 if one["method"] == "retrain" else ags[one["method"]]
            one |= figures_of(ag, one["seed"], (noise or {}).get(one["method"], 0.0)) | (counts or {})
        if one["kind"] == "select":
            one["ag"] = ag + (noise or {}).get(one["method"], 0.0) * (one["seed"] - 2)
    return fake, rows


def report_of(fake, rows):
    """A store with these rows, and the report of it."""
    store = Store("memory://written")
    store.remove("")
    for one in rows:
        node = fake.plan.nodes[one["key"]]
        store.commit(node, {}, Fake._facts(node), Record(**one))
    write_report(store, fake.spec, fake.plan)
    return store


def table_of(*args, **options):
    fake, rows = grid(*args, **options)
    (table,) = build_tables(fake.spec, fake.plan, rows)
    return table


CLEAR = {"original": 4.0, "ft": 2.0, "salun": 1.5, "qmul": 0.5}


def test_a_clear_winner_is_marked_and_so_is_a_clear_second():
    table = table_of(CLEAR)
    assert {line.method: (line.mark, line.near) for line in table.lines if line.role == "method"} == {
        "qmul": ("best", ""),
        "salun": ("second", ""),
        "ft": ("", ""),
    }
    assert re.fullmatch(
        r"With 3 seeds, Q-MUL \(AG 0\.50 ± 0\.\d\d\) is told apart from all 2 other methods; it is closer to Retrain"
        r" than the untouched original \(4\.00 ± 0\.\d\d\); so are all 3 methods\.",
        quotable(table),
    )


def test_one_seed_marks_nothing_and_says_why():
    table = table_of(CLEAR, seeds=(1,))
    assert {line.mark for line in table.lines} == {""}
    said = quotable(table)
    assert said.startswith("With one seed, Q-MUL (AG 0.50 ± ")
    assert said.endswith("so that no method is marked as best.")


def test_one_seed_with_few_images_tells_nothing_apart():
    table = table_of(CLEAR, seeds=(1,), counts=COUNTS)
    assert {line.near for line in table.lines if line.role == "method"} == {
        None,
        "best",
    }  # None: the smallest
    said = quotable(table)
    assert "Q-MUL (AG 0.50 ± " in said
    assert "and SalUn cannot be told apart" in said or ", SalUn and FT cannot be told apart" in said
    for line in table.lines:
        assert all(
            found.half and found.half > 0
            for found in (line.figures[name] for name in ("fa", "ra", "ta", "mia"))
        )
        assert line.role == "reference" or line.ag.half > 1


def test_several_seeds_that_scatter_are_one_group():
    table = table_of(CLEAR, noise={"salun": 1.0})
    salun = next(line for line in table.lines if line.method == "salun")
    assert (table.verdict.level, salun.near) == (("salun",), "best")
    assert {line.mark for line in table.lines} == {""}
    expected = t.ppf(0.975, 2) * 1.0 / 3**0.5  # AGs 0.5, 1.5, 2.5
    assert table.verdict.to_leader["salun"].half == pytest.approx(expected, rel=0.02)  # images add a little
    assert "and SalUn cannot be told apart; of these only Q-MUL is shown to be closer to Retrain" in quotable(
        table
    )


def test_methods_that_do_no_better_than_nothing_are_counted():
    table = table_of(CLEAR | {"original": 1.0})
    assert table.verdict.not_closer == ("salun", "ft")
    assert quotable(table).endswith("2 of 3 methods are not.")
    worse = table_of(CLEAR | {"original": 0.2})
    assert "it is not shown to be closer to Retrain" in quotable(worse)
    assert quotable(worse).endswith("nor is any other of the 3 methods.")
    assert {line.mark for line in worse.lines} == {""}  # the smallest AG, and still worse than doing nothing


def test_the_noise_floor_holds_back_a_mark_too():
    fake, rows = grid(CLEAR)
    for one in rows:
        if one["kind"] == "evaluate" and one["method"] == "retrain":
            one["mia"] += 8 * (one["seed"] - 2)  # floor (2 + 2 + 4) / 3
    (table,) = build_tables(fake.spec, fake.plan, rows)
    assert table.floor.mean == pytest.approx(8 / 3)
    assert {line.mark for line in table.lines} == {""}
    assert {line.near for line in table.lines if line.role == "method"} == {"retrain"}


def test_page_markdown_latex_and_terminal_crown_no_one_without_a_winner():
    fake, rows = grid(CLEAR, seeds=(1,))
    (table,) = build_tables(fake.spec, fake.plan, rows)
    store = report_of(fake, rows)
    page, text, tex = (store.get(f"report/{n}").decode() for n in ("index.html", "report.md", "tables.tex"))
    for crown in ('class="method best', 'td class="best"', "<u>"):
        assert crown not in page
    assert re.search(r"class=\"ag\"[^>]*><strong>", page) is None
    assert "**" not in "".join(line for line in text.splitlines(True) if line.startswith("|"))
    assert "\\textbf" not in tex
    assert "\\underline" not in tex
    console = Console(width=120, file=io.StringIO(), force_terminal=True, color_system="standard")
    print_tables(console, [table])
    assert "best, + second" not in console.file.getvalue()
    for written in (page, text):
        assert "With one seed, " in written


def test_csv_says_what_was_compared():
    fake, rows = grid(CLEAR, noise={"salun": 1.0})
    fresh = report_of(fake, rows)
    read = list(csv.DictReader(io.StringIO(fresh.get("report/results.csv").decode())))
    of = {line["method"]: line for line in read if line["seed"] == "2"}
    assert (of["salun"]["distinguishable"], of["ft"]["distinguishable"]) == ("false", "true")
    assert float(of["salun"]["to_leader"]) == pytest.approx(1.0)
    assert float(of["salun"]["to_leader_half"]) > 1.0
    assert float(of["ft"]["to_original"]) == pytest.approx(-2.0)
    assert (of["ft"]["closer_than_original"], of["original"]["closer_than_original"]) == ("true", "")
    assert float(of["ft"]["fa_low"]) < float(of["ft"]["fa"]) < float(of["ft"]["fa_high"])


class TestChance:
    def test_a_retrain_at_chance_is_refused_with_the_reason(self):
        fake, rows = grid(CLEAR)
        for one in rows:
            if one["kind"] == "evaluate" and one["method"] == "retrain" and one["seed"] == 2:
                one |= {"ta": 10.3, "test_count": 1000}
        (table,) = build_tables(fake.spec, fake.plan, rows)
        assert table.refused == (
            "Retrain of seed 2 is at chance level: 103 of 1,000 test images right (10.3 %), guessing among 10 classes"
            " gives 10.0 % (binomial test, p = 0.39)"
        )
        assert table.refused in quotable(table)
        assert table.floor is None
        for line in table.lines:
            assert (line.ag, line.mark, line.near) == (None, "", None)
            assert {found.gap for found in line.figures.values()} == {None}
        console = Console(width=100, file=io.StringIO())
        print_tables(console, [table])
        assert "No gap is judged: Retrain of seed 2" in console.file.getvalue()

    def test_the_test_is_exact_and_knows_the_forgotten_class(self):
        def refused(right, **changes):
            fake, rows = grid(CLEAR, seeds=(1,), **changes)
            for one in rows:
                if one["kind"] == "evaluate" and one["method"] == "original":
                    one |= {"ta": 100 * right / 90, "test_count": 90}
            return build_tables(fake.spec, fake.plan, rows)[0].refused

        for among, changes in ((10, {}), (9, {"classes": (3,)})):
            first = next(
                n for n in range(91) if binomtest(n, 90, 1 / among, alternative="greater").pvalue < 0.05
            )
            assert refused(first, **changes) == ""
            assert refused(first - 1, **changes).startswith("the original of seed 1 is at chance level")

    def test_the_selection_stays_in_the_rows(self):
        fake, rows = grid(CLEAR, seeds=(1,))
        for one in rows:
            if one["kind"] == "evaluate" and one["method"] == "retrain":
                one["ta"] = 9.0
        fresh = report_of(fake, rows)
        read = list(csv.DictReader(io.StringIO(fresh.get("report/results.csv").decode())))
        assert {line["ag"] for line in read} == {""}
        assert all("is at chance level" in line["reference_refused"] for line in read)
        assert {one["ag"] for one in read_rows(fresh)[0] if one["kind"] == "select"} == {2.0, 1.5, 0.5}
        assert "refused as reference" in fresh.get("report/index.html").decode()
        trials = csv.DictReader(io.StringIO(fresh.get("report/trials.csv").decode()))
        assert {line["ag"] for line in trials} == {""}
