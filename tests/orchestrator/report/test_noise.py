"""The noise floor and its marks, against cases worked out by hand."""

import csv
import io

import pytest

from orchestrator.report.csv_files import results_csv
from orchestrator.report.noise import Floor, floor_text, noise_floor
from orchestrator.report.tabulation import build_tables, tables_of
from orchestrator.report.verdict import Difference, Verdict
from orchestrator.results.entries import collect
from tasks.store.store import Store
from tests.orchestrator.fake_results import Fake, small_spec

# |90-91| + |100-99| + |92-94| + |10-14| = 8, a quarter of it is 2; to the third: 1, 0, 1, 2 -> 1 and 0, 1, 1, 2 -> 1
RETRAINS = (
    {"fa": 90.0, "ra": 100.0, "ta": 92.0, "mia": 10.0},
    {"fa": 91.0, "ra": 99.0, "ta": 94.0, "mia": 14.0},
    {"fa": 91.0, "ra": 100.0, "ta": 93.0, "mia": 12.0},
)


def test_the_floor_is_the_mean_over_all_pairs():
    assert noise_floor(RETRAINS) == Floor(mean=4 / 3, low=1.0, high=2.0, pairs=3)
    assert noise_floor(RETRAINS[:2]) == Floor(2.0, 2.0, 2.0, 1)


def test_one_retrain_has_no_floor():
    assert noise_floor(RETRAINS[:1]) is None
    assert noise_floor([]) is None


def test_the_floor_as_it_is_stated():
    assert floor_text(Floor(1.234, 0.9, 1.61, 3), 3) == (
        "AG 1.23 between Retrains of different seed (3 pairs, 0.90 to 1.61)"
    )
    assert floor_text(Floor(2.0, 2.0, 2.0, 1), 2) == "AG 2.00 between Retrains of different seed (1 pair)"
    assert floor_text(None, 1) == "unknown with one seed: how far two trainings lie apart"
    assert floor_text(None, 3).startswith("unknown with fewer than two finished Retrains: ")


@pytest.mark.parametrize(
    ("ag", "near"), [(1.33, "retrain"), (1.334, "retrain"), (1.34, "best"), (3.0, "best")]
)
def test_retrain_is_judged_as_printed(ag, near):
    verdict = Verdict(seeds=3, ranked=("ga", "ft"), to_leader={"ft": Difference(1.0, 2.0, 3)}, level=("ft",))
    assert verdict.near("ft", ag, Floor(4 / 3, 1.0, 2.0, 3)) == near


def test_without_a_floor_one_seed_can_only_deny():
    verdict = Verdict(seeds=1, ranked=("ga", "ft", "rl"), level=("ft",))
    assert [verdict.near(method, 1.0, None) for method in verdict.ranked] == [None, "best", None]


GAPS = {"ft": 4.5, "ga": 1.0, "rl": 3.2, "salun": 2.5, "qmul": 1.25}  # the floor is 4/3, the best 1


class TestInTables:
    def filled(self, seeds=(1, 2, 3), skip=lambda node: False) -> Fake:
        store = Store("memory://noise")
        store.remove("")
        fake = Fake(store, small_spec(seeds=seeds, methods=("retrain", *GAPS)))
        fake.fill(skip=skip)
        return fake

    def rows(self, fake: Fake) -> list[dict]:
        rows = [record.model_dump() for record in fake.rows.values()]
        for row in rows:
            if row["method"] == "retrain" and row["kind"] == "evaluate":
                row |= RETRAINS[row["seed"] - 1]
            if row["kind"] == "select":
                row["ag"] = GAPS[row["method"]]
        return rows

    def test_marks(self):
        fake = self.filled()
        (table,) = build_tables(fake.spec, fake.plan, self.rows(fake))
        assert table.floor == Floor(4 / 3, 1.0, 2.0, 3)
        assert {line.method: (line.mark, line.near) for line in table.lines} == {
            "original": ("", None),
            "retrain": ("", None),
            "ft": ("", ""),
            "ga": ("", "retrain"),
            "rl": ("", ""),
            "salun": ("", ""),
            "qmul": ("", "retrain"),
        }
        assert [line.method for line in table.level_with_leader] == ["qmul"]

    def test_methods_near_the_best_but_not_retrain(self):
        fake = self.filled()
        rows = self.rows(fake)
        for row in rows:
            if row["kind"] == "select":
                row["ag"] += 1.5  # ft 6, ga 2.5, rl 4.7, salun 4, qmul 2.75
        (table,) = build_tables(fake.spec, fake.plan, rows)
        near = {line.method: line.near for line in table.lines if line.role == "method"}
        assert near == {"ft": "", "ga": "", "rl": "", "salun": "", "qmul": "best"}

    def test_one_seed_judges_nothing(self):
        fake = self.filled(seeds=(1,))
        (table,) = build_tables(fake.spec, fake.plan, self.rows(fake))
        assert table.floor is None
        assert not {line.near for line in table.lines} & {"", "retrain"}
        assert dict(table.facts)["Noise floor"].startswith("unknown with one seed")

    def test_a_method_with_a_missing_seed_is_not_judged(self):
        fake = self.filled(
            skip=lambda n: n.kind == "trial" and (n.inputs["method"], n.inputs["seed"]) == ("qmul", 2)
        )
        (table,) = build_tables(fake.spec, fake.plan, self.rows(fake))
        assert {line.method: line.near for line in table.lines}["qmul"] is None
        assert table.floor.pairs == 3

    def test_csv_columns(self):
        fake = self.filled()
        rows = {row["key"]: row for row in self.rows(fake)}
        entries = collect(fake.plan, rows.values())
        text = results_csv(entries, tables_of(fake.spec, entries, rows))
        read = [line for line in csv.DictReader(io.StringIO(text)) if line["seed"] == "2"]
        assert {float(line["noise_floor"]) for line in read} == {4 / 3}
        judged = {
            line["method"]: (line["distinguishable"], line["distinguishable_from_retrain"]) for line in read
        }
        assert judged == {
            "original": ("", ""),
            "retrain": ("", ""),
            "ft": ("true", "true"),
            "ga": ("", "false"),
            "rl": ("true", "true"),
            "salun": ("true", "true"),
            "qmul": ("false", "false"),
        }
