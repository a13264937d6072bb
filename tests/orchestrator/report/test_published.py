"""The paper's figures are found again by the coordinates of a comparison, and shown beside ours."""

import csv
import statistics
from collections import Counter
from importlib.resources import files

import pytest

from core.metrics.gap import FIGURES
from core.models import MODELS
from orchestrator.plan.grid_plan import Cell, make_plan
from orchestrator.report.paper.deviations import pairs_of, printed_rows
from orchestrator.report.paper.published import COMPARED, Published, find_published, published_rows
from orchestrator.report.tabulation import build_tables
from orchestrator.spec.recipes import RECIPES
from tasks.store.store import Store
from tests.orchestrator.fake_results import Fake, small_spec

AT = Cell("cifar10", "resnet18", "4w4a", "random", 0.1, 1, "qmul")


def found(**changes) -> list[tuple[int, float]]:
    return [(row.table, row.figures["fa"]) for row in find_published(AT._replace(**changes))]


class TestRows:
    def test_every_row_of_the_file_is_there_as_printed(self):
        text = files("orchestrator.report.paper").joinpath("published.csv").read_text("utf-8")
        printed = list(csv.DictReader(text.splitlines()))
        rows = published_rows()
        assert len(rows) == len(printed) == 158
        for row, line in zip(rows, printed, strict=True):
            assert [row.figures[name] for name in COMPARED] == [float(line[name]) for name in COMPARED]
            assert row.gaps == {n: float(line[f"{n}_gap"]) for n in FIGURES if line[f"{n}_gap"]}
        assert Counter(row.table for row in rows) == {
            1: 48, 2: 4, 3: 10, 4: 8, 5: 8, 6: 8, 7: 24, 8: 24, 9: 24,
        }  # fmt: skip

    def test_eleven_rows_contradict_themselves(self):
        doubtful = [row for row in published_rows() if row.note]
        assert len(doubtful) == 11
        assert all(row.doubtful for row in doubtful)
        assert {row.doubtful for row in published_rows() if not row.note} == {frozenset()}

    def test_the_notes_are_those_of_the_arithmetic(self):
        """A gap must be the distance to Retrain's figure and AG the mean of the gaps, to 0.03 for rounding."""
        retrain = {_problem(row): row for row in published_rows() if row.method == "retrain"}
        for row in published_rows():
            reference = retrain[_problem(row)].figures
            errors = {n: abs(row.figures[n] - reference[n]) - gap for n, gap in row.gaps.items()}
            errors["ag"] = statistics.fmean(row.gaps.values() or [0]) - row.figures["ag"]
            assert {name for name, error in errors.items() if abs(error) > 0.03} == row.doubtful


def _problem(row: Published) -> tuple:
    return row.table, row.dataset, row.quantizer, row.forget_percent


class TestFind:
    def test_by_dataset_network_ratio_and_method(self):
        assert found() == [(1, 97.11)]
        assert found(amount=0.3) == [(1, 93.57)]
        assert found(method="salun", amount=0.5) == [(1, 96.56)]
        assert found(dataset="tiny_imagenet") == [(4, 72.10)]
        assert found(dataset="svhn", arch="mobilenetv2", quant="2w") == [(9, 96.47)]

    def test_by_quantization(self):
        at = {"dataset": "cifar100"}
        assert found(quant="4w4a-pact", **at) == [(3, 73.51)]
        assert found(quant="4w4a-dsq", **at) == [(3, 78.18)]
        assert found(quant="4w4a", **at) == [(1, 75.71), (2, 75.71)]

    @pytest.mark.parametrize("arch", ["resnet18", "mobilenetv2"])
    def test_the_published_placement_is_printed_as_the_papers_quantization(self, arch):
        at = {"arch": arch, "dataset": "cifar10"}
        assert found(quant=MODELS[arch].released_quant.label, **at) == found(
            quant=MODELS[arch].paper_quant.label, **at
        )
        assert found(quant=MODELS[arch].released_quant.label, **at)

    def test_any_class_is_the_class_that_the_paper_does_not_name(self):
        assert found(scenario="class", amount=3.0) == found(scenario="class", amount=0.0) == [(5, 0.0)]

    def test_ablations(self):
        at = {"dataset": "cifar100"}
        assert found(method="qmul_no_sl", **at) == [(2, 73.67)]
        assert found(method="qmul_no_agr", **at) == [(2, 69.84)]
        assert found(method="qmul_no_agr") == []

    @pytest.mark.parametrize(
        "changes",
        [
            {"method": "original"},
            {"method": "qmul:order=sequential"},
            {"quant": "fp"},
            {"quant": "8w8a"},
            {"quant": "4w8a"},
            {"quant": "2w"},
            {"amount": 0.2},
            {"dataset": "digits"},
            {"dataset": "svhn"},
        ],
    )
    def test_nothing_is_printed(self, changes):
        assert found(**changes) == []

    @pytest.mark.parametrize("number", range(1, 10))
    def test_every_printed_row_is_found_by_the_cells_of_its_recipe(self, number):
        name = f"table{number}"
        if name not in RECIPES:
            pytest.skip(f"no recipe {name}")
        printed = [row for row in published_rows() if row.table == number]
        reached = [row for cell in make_plan(RECIPES[name]()).cells for row in find_published(cell)]
        assert [row for row in printed if row not in reached] == []
        assert {row.table for row in reached} <= {number, 1, 2}


OURS = {"fa": 97.0, "ra": 99.5, "ta": 92.0, "mia": None, "ag": 1.5}


class TestPairs:
    def test_difference_is_ours_less_printed(self):
        pairs = pairs_of(find_published(AT)[0], OURS)
        assert [pairs[n].printed for n in COMPARED] == [97.11, 99.67, 92.39, 12.49, 1.3]
        assert pairs["fa"].difference == pytest.approx(-0.11)
        assert pairs["ag"].difference == pytest.approx(0.2)
        assert (pairs["mia"].ours, pairs["mia"].difference) == (None, None)
        assert not any(pair.doubtful for pair in pairs.values())

    def test_a_row_that_contradicts_itself_is_no_target(self):
        (row,) = find_published(AT._replace(method="salun", amount=0.3))
        pairs = pairs_of(row, OURS)
        assert {pair.difference for pair in pairs.values()} == {None}
        assert [name for name in COMPARED if pairs[name].doubtful] == ["mia"]
        assert row.contradiction == "MIA: printed gap 0.66 but |value-retrain| = 0.61"

    def test_retrains_ag_is_not_compared(self):
        pairs = pairs_of(find_published(AT._replace(method="retrain"))[0], {"fa": 93.0, "ag": 0.0})
        assert pairs["ag"].difference is None
        assert pairs["fa"].difference == pytest.approx(-0.38)


class TestTerms:
    """What makes ours another experiment is said in words."""

    def terms(self, at=AT, methods=("retrain", "qmul"), **changes) -> tuple[str, ...]:
        spec = small_spec(**changes)
        return printed_rows(spec, at, {method: {} for method in methods}, len(spec.seeds)).terms

    def test_the_papers_setting(self):
        assert self.terms() == (
            "Ours: the equations, not the published code; one seed (the paper names none)",
        )

    def test_the_published_protocol(self):
        at = AT._replace(quant="4w8a-released")
        assert self.terms(at, protocol="released", seeds=(1, 2, 3)) == (
            "Ours: quantization 4w8a-released; the mean of 3 seeds (the paper names none)",
        )

    def test_networks_that_start_from_a_file(self):
        level, _ = self.terms(weights={"resnet18": {"path": "/there/w.pth", "sha256": "0f" * 32}})
        assert level == "Ours: from given weights: not comparable in level"

    def test_a_smaller_experiment(self):
        level, _ = self.terms(
            data={"limit": {"train": 3000}, "augment": False},
            widths={"resnet18": 0.25},
            original={"epochs": 30, "batch_size": 64},
            retrain={"epochs": 25},
            validation=0.2,
        )
        assert level == (
            "Ours: 3,000 of 50,000 training and 10,000 test images, width × 0.25, 30 instead of 182 epochs (original),"
            " 25 instead of 160 epochs (Retrain), batch_size 64, no augmentation, 20 % instead of 10 % held out:"
            " not comparable in level"
        )

    def test_fixed_hyper_parameters_of_the_methods_shown(self):
        (term,) = self.terms(params={"qmul": {"epochs": 5, "batch_size": 256}, "ft": {"epochs": 3}})
        assert term == (
            "Ours: the equations, not the published code; epochs of the methods fixed; one seed (the paper names none)"
        )

    def test_a_class_and_another_placement(self):
        (term,) = self.terms(AT._replace(scenario="class", amount=3.0), classes=(3,))
        assert term.endswith("one seed and class 3 (the paper names neither)")
        (term,) = self.terms(AT._replace(quant="4w4a-fpends"))
        assert "; quantization 4w4a-fpends; " in term


class TestTables:
    def tables(self, **changes):
        store = Store("memory://beside")
        store.remove("")
        fake = Fake(store, small_spec(**changes))
        fake.fill()
        return build_tables(fake.spec, fake.plan, [r.model_dump() for r in fake.rows.values()])

    def test_means_stand_beside_the_printed_figures(self):
        (table,) = self.tables(seeds=(1, 2), methods=("retrain", "ft", "qmul:order=sequential"))
        assert [line.method for line in table.printed.lines] == ["retrain", "ft"]
        assert table.printed.source == "table 1"
        means = {line.method: line.figures["ta"].mean for line in table.lines}
        pairs = table.printed.lines[1].pairs
        assert pairs["ta"].ours == means["ft"]
        assert pairs["ta"].difference == means["ft"] - 93.05

    def test_a_hole_keeps_its_printed_row(self):
        store = Store("memory://beside")
        store.remove("")
        fake = Fake(store, small_spec())
        (table,) = build_tables(fake.spec, fake.plan, [])
        assert {pair.ours for line in table.printed.lines for pair in line.pairs.values()} == {None}
        assert table.printed.lines[0].pairs["fa"].printed == 93.38

    def test_nothing_is_printed_for_digits(self):
        (table,) = self.tables(datasets=("digits",))
        assert table.printed is None

    @pytest.mark.parametrize(
        ("methods", "source"),
        [
            (("retrain", "qmul"), "tables 1 and 2"),
            (("retrain", "ft", "qmul"), "table 1"),
            (("retrain", "qmul", "qmul_no_sl", "qmul_no_agr"), "table 2"),
            (("retrain", "ft", "qmul", "qmul_no_sl"), "tables 1 and 2"),
        ],
    )
    def test_the_tables_that_print_all_are_named(self, methods, source):
        spec = small_spec(datasets=("cifar100",), methods=methods)
        at = AT._replace(dataset="cifar100")
        assert printed_rows(spec, at, {method: {} for method in methods}, 1).source == source

    def test_contradictions_are_noted_below(self):
        (table,) = self.tables(
            datasets=("cifar100",),
            archs=("mobilenetv2",),
            ratios=(0.5,),
            methods=("retrain", "ft", "ga", "rl"),
        )
        what = "the printed row contradicts itself and is no target"
        assert table.printed.notes == [
            f"FT: {what} (AG: printed 18.65 but mean of printed gaps = 21.46)",
            f"GA: {what} (MIA: printed gap 5.44 but |value-retrain| = 4.74)",
        ]
