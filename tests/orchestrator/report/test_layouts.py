"""Figures as other papers print them: values, marks, holes, originals, and every file that shows them."""

import csv
import io
import re
import shutil
import statistics
import subprocess
from xml.etree import ElementTree

import pytest

from core.metrics.registry import METRICS
from orchestrator.report.layouts.definitions import AVERAGE_GAP, LAYOUTS, measures
from orchestrator.report.layouts.pivot_tables import decimals, pivots
from orchestrator.report.layouts.text import WIDEST, key_text, layouts_latex, layouts_markdown
from orchestrator.report.writing import build_tables, write_report
from orchestrator.spec.recipes import RECIPES
from tasks.node import Node
from tasks.record import EpochFact
from tasks.store.store import Store
from tests.orchestrator.fake_results import Fake, share, small_spec

OF_OUTPUTS = [name for name, metric in METRICS.items() if metric.reads == "outputs"]


class Measured(Fake):
    """With the error on the forgotten class, a selected model's distances to Retrain, and what RFA trains."""

    def _trial(self, node: Node) -> dict:
        trial = super()._trial(node)
        said = [EpochFact(epoch=0, name="trainable", value=0.07)] * (node.inputs["method"] == "rfa_lora")
        return trial | {"curve": [*trial["curve"], *said]}

    def _evaluate(self, node: Node) -> dict:
        return super()._evaluate(node) | {"ef": 100 * share(node.key, "ef")}

    def _select(self, node: Node) -> dict:
        row = super()._select(node)
        chosen = next(r for r in self.rows.values() if r.key == row["selected"])
        return row | {"ef": chosen.ef} | {name: share(node.key, name) for name in OF_OUTPUTS}


def filled(
    recipe="mnemonic_table", fail=lambda n: False, skip=lambda n: False, uri=None, **changes
) -> Measured:
    """uri: where the rows are stored; None for rows alone."""
    store = None if uri is None else Store(str(uri))
    if store is not None:
        store.remove("")
    spec = RECIPES[recipe]() if recipe in RECIPES else small_spec(recipe=recipe)
    fake = Measured(store, type(spec).model_validate(spec.model_dump() | changes))
    fake.fill(fail, skip)
    return fake


def found(fake, change=lambda row: None):
    """Pivots by figure; change: edits a row."""
    rows = [record.model_dump() for record in fake.rows.values()]
    for row in rows:
        change(row)
    return {p.layout.figure: p for p in pivots(fake.spec.recipe, build_tables(fake.spec, fake.plan, rows))}


def values(pivot, column=0):
    return {row.method: row.values[column] for row in pivot.rows}


def best(pivot, column=0):
    return [method for method, value in values(pivot, column).items() if value.best]


def of(*methods, kind="trial", **inputs):
    def is_it(node):
        given = node.inputs
        return (
            node.kind == kind
            and given.get("method") in methods
            and all(given[name] == value for name, value in inputs.items())
        )

    return is_it


def set_means(figure, means, **where):
    """Gives methods the same value on every seed."""

    def change(row):
        chosen = row["kind"] == "select" or (row["kind"] == "evaluate" and row["method"] == "retrain")
        here = all(row[name] == value for name, value in where.items())
        if chosen and here and row["method"] in means:
            row[figure] = means[row["method"]]

    return change


def test_the_share_that_trains_stands_where_a_method_says_it():
    trains = found(filled("rfa_table", seeds=(1,)))["trainable"]
    assert [(row.method, row.values[0].figure.mean) for row in trains.rows] == [
        ("rfa_lora", pytest.approx(7))
    ]


@pytest.mark.parametrize("recipe", LAYOUTS)
def test_every_layout_is_of_a_recipe_and_a_known_figure_and_is_filled_by_it(recipe):
    assert all(layout.figure in measures() for layout in LAYOUTS[recipe])
    assert len({layout.title for layout in LAYOUTS[recipe]}) == len(LAYOUTS[recipe])
    fake = filled(recipe, seeds=(1,))
    made = found(fake)
    assert list(made) == [layout.figure for layout in LAYOUTS[recipe]]
    for pivot in made.values():
        for row in pivot.rows:
            assert len(row.values) == len(pivot.columns)
            assert all(value.figure for value in row.values), (pivot.layout, row.method)


class TestValues:
    def test_methods_down_and_problems_across(self):
        pivot = found(filled())["ta"]
        assert pivot.common == "ResNet-18 · class 0"
        assert [column.parts for column in pivot.columns] == [
            ("MNIST", "fp"), ("MNIST", "4w4a"), ("CIFAR-10", "fp"), ("CIFAR-10", "4w4a"),
        ]  # fmt: skip
        assert [column.number for column in pivot.columns] == [1, 2, 3, 4]
        assert pivot.columns[1].problem == "MNIST · ResNet-18 · 4w4a · class 0"

    @pytest.mark.parametrize("figure", ["ta", "ef", "seconds"])
    def test_mean_interval_and_count_are_those_of_the_rows(self, figure):
        fake = filled()
        for number, (dataset, quant) in enumerate((d, q) for d in fake.spec.datasets for q in ("fp", "4w4a")):
            rows = [
                getattr(fake.rows[key], figure)
                for cell, key in fake.plan.cells.items()
                if (cell.dataset, cell.quant, cell.method) == (dataset, quant, "sfdn")
            ]
            value = values(found(fake)[figure], number)["sfdn"].figure
            assert value.mean == pytest.approx(statistics.fmean(rows))
            of_seeds = 4.302652729911275 * statistics.stdev(rows) / 3**0.5
            assert value.half == pytest.approx(of_seeds, rel=0.2 if figure == "ta" else 1e-6)
            assert (value.half > of_seeds) == (figure == "ta")  # a share of images, which leave some open too
            assert value.count == 3

    def test_distances_are_methods_alone_and_times_have_no_original(self):
        made = found(filled("rfa_table"))
        assert {row.role for row in made["js_test"].rows} == {"method"}
        assert {row.role for row in made["seconds"].rows} == {"reference", "method"}
        assert {row.role for row in made["fa"].rows} == {"original", "reference", "method"}

    def test_an_original_that_a_method_took_part_in_stands_directly_above_it(self):
        fake = filled(methods=("retrain", "ft", "mnemonic", "ssd"))
        rows = [row.method for row in found(fake)["ta"].rows]
        assert rows == ["original", "retrain", "ft", "ssd", "original:mnemonic", "mnemonic"]
        (hooked,) = {key for cell, key in fake.plan.hooked.items() if cell.dataset == "mnist" and cell.seed == 2
                     and cell.quant == "fp"}  # fmt: skip
        one = found(fake, lambda row: row.update(ta=0.0) if row["key"] == hooked else None)["ta"]
        assert values(one)["original:mnemonic"].figure.mean < values(one)["mnemonic"].figure.mean

    def test_full_precision_has_no_flip_rate_and_says_so(self):
        pivot = found(filled("cross_table_class", seeds=(1,)))["flip_rate"]
        assert [column.parts for column in pivot.columns] == [("4w4a",)]
        assert pivot.left_out == ("fp (no weights are quantized)",)
        assert not found(filled("cross_table_class", seeds=(1,), quantizers=("fp",))).get("flip_rate")

    def test_without_a_class_there_is_no_error_on_it(self):
        made = found(filled(classes=(), ratios=(0.1,), methods=("retrain", "ssd", "sfdn")))
        assert list(made) == ["ta", "seconds"]

    def test_a_single_problem_is_named_in_full(self):
        pivot = found(filled(datasets=("mnist",), quantizers=("4w4a",)))["ta"]
        assert [column.parts for column in pivot.columns] == [("MNIST", "ResNet-18", "4w4a", "class 0")]
        assert pivot.common == ""

    def test_three_digits_where_decimals_go_by_size(self):
        assert [decimals(mean, None) for mean in (0.0, 0.0277, 0.517, 8.66, 21.0, 882.0, 6923.0)] == [
            2, 4, 3, 2, 1, 0, 0,
        ]  # fmt: skip
        assert decimals(1234.5, 2) == 2


class TestMarks:
    METHODS = ("retrain", "ssd", "sfdn", "unsir")

    def pivots(self, change, skip=lambda n: False, recipe="mnemonic_table", **changes):
        return found(filled(recipe, skip=skip, **({"methods": self.METHODS} | changes)), change)

    def test_highest_lowest_and_nearest(self):
        means = {"retrain": 90.0, "ssd": 99.0, "sfdn": 89.0, "unsir": 80.0}
        where = {"dataset": "mnist", "quant": "fp"}
        assert best(self.pivots(set_means("ta", means, **where))["ta"]) == ["ssd"]
        assert best(self.pivots(set_means("seconds", means, **where))["seconds"]) == ["unsir"]
        where["dataset"] = "cifar10"
        nearest = self.pivots(set_means("ta", means, **where), recipe="rfa_table")["ta"]
        assert nearest.layout.better == "nearest"
        assert best(nearest) == ["sfdn"]

    def test_retrain_and_originals_are_never_the_best(self):
        pivot = self.pivots(set_means("ta", {"retrain": 100.0, "ssd": 50.0, "sfdn": 40.0, "unsir": 30.0}))[
            "ta"
        ]
        for column in range(4):
            assert best(pivot, column) == ["ssd"]

    def test_what_is_not_told_apart_has_no_best(self):
        close = set_means("ta", {"ssd": 99.0, "sfdn": 98.9, "unsir": 50.0})  # 10,000 images: ± 0.1 each
        assert best(self.pivots(close)["ta"]) == []
        clear = set_means("ta", {"ssd": 99.0, "sfdn": 98.0, "unsir": 50.0})
        assert best(self.pivots(clear)["ta"]) == ["ssd"]
        assert best(self.pivots(clear, seeds=(1,))["ta"]) == []

    def test_fewer_seeds_are_shown_and_not_ranked(self):
        skip = of("ssd", seed=2, dataset="mnist", quant="fp")
        pivot = self.pivots(set_means("ta", {"ssd": 100.0, "sfdn": 50.0, "unsir": 40.0}), skip)["ta"]
        value = values(pivot)["ssd"]
        assert (value.figure.count, value.seeds, value.partial) == (2, 3, True)
        assert best(pivot) == ["sfdn"]
        assert best(pivot, 1) == ["ssd"]  # where all its seeds are

    def test_rows_of_older_code_without_a_figure_count_as_missing_seeds(self):
        def change(row):
            set_means("ef", {"ssd": 100.0, "sfdn": 50.0, "unsir": 40.0})(row)
            if row["method"] == "ssd" and row["seed"] == 1:
                row["ef"] = None

        pivot = self.pivots(change)["ef"]
        assert values(pivot)["ssd"].figure.count == 2
        assert best(pivot) == ["sfdn"]

    def test_without_retrain_nothing_is_nearest(self):
        fake = filled("rfa_table", fail=of("retrain", kind="retrain"))
        made = found(fake)
        assert all(value.hole.startswith("failed: its retrain:") for value in values(made["ta"]).values()
                   if value.hole)  # fmt: skip
        assert not any(best(pivot, column) for pivot in made.values() for column in range(4))

    def test_a_flip_rate_has_no_better_direction(self):
        pivot = found(filled("cross_table", seeds=(1,)))["flip_rate"]
        assert best(pivot) == []

    def test_holes_keep_their_reason(self):
        fake = filled(fail=of("ssd", dataset="mnist"), skip=of("sfdn", dataset="mnist"))
        found_values = values(found(fake)["ef"])
        assert found_values["ssd"].hole.startswith("failed: every trial: loss is nan")
        assert (found_values["sfdn"].hole, found_values["sfdn"].status) == ("missing: not run yet", "missing")
        assert found_values["ssd"].figure is None


class TestOtherGrids:
    def test_ag_where_there_are_several_problems(self):
        fake = filled("small", ratios=(0.1, 0.3), quantizers=("4w4a", "fp"))
        (pivot,) = found(fake).values()
        assert pivot.layout == AVERAGE_GAP
        assert [column.parts[-2:] for column in pivot.columns] == [
            ("4w4a", "random 10 %"), ("4w4a", "random 30 %"), ("fp", "random 10 %"), ("fp", "random 30 %"),
        ]  # fmt: skip
        tables = build_tables(fake.spec, fake.plan, [row.model_dump() for row in fake.rows.values()])
        for number, table in enumerate(tables):
            assert best(pivot, number) == [line.method for line in table.lines if line.mark == "best"]

    def test_nothing_for_one_problem_no_problem_or_no_method(self):
        assert found(filled("small")) == {}
        assert pivots("small", []) == ()
        assert found(filled("small", ratios=(0.1, 0.3), methods=("retrain",))) == {}

    def test_an_earlier_report_leaves_no_file(self, tmp_path):
        fake = filled("small", uri=tmp_path, ratios=(0.1, 0.3))
        write_report(fake.store, fake.spec, fake.plan)
        assert fake.store.exists("report/layouts.csv")
        fake = filled("small", uri=tmp_path)
        write_report(fake.store, fake.spec, fake.plan)
        assert not fake.store.exists("report/layouts.csv")
        assert "layouts" not in fake.store.get("report/index.html").decode().split("</style>")[1]


@pytest.fixture(scope="module")
def fake(tmp_path_factory):
    """A report with a failed method, a missing seed, and two originals of one method."""
    made = filled(
        uri=tmp_path_factory.mktemp("layouts"),
        methods=("retrain", "ssd", "sfdn", "mnemonic", "mnemonic:t_mix=0.2"),
        fail=of("sfdn", dataset="mnist"),
        skip=of("ssd", seed=3, dataset="cifar10", quant="fp"),
    )
    write_report(made.store, made.spec, made.plan)
    return made


class TestFiles:
    def text(self, fake, name):
        return fake.store.get(f"report/{name}").decode()

    def test_page_is_well_formed_and_shows_every_value(self, fake):
        root = ElementTree.fromstring(self.text(fake, "index.html"))
        (section,) = (element for element in root.iter("section") if element.get("id") == "layouts")
        assert any(link.get("href") == "#layouts" for link in root.iter("a"))
        made = found(fake)
        tables = list(section.iter("table"))
        assert len(tables) == len(made)
        for table, pivot in zip(tables, made.values(), strict=True):
            heads = table.find("thead").find("tr")
            assert [head.get("scope") for head in heads] == ["col"] * (1 + len(pivot.columns))
            assert [a.get("href") for a in heads.iter("a")] == [f"#table-{c.number}" for c in pivot.columns]
            rows = table.find("tbody").findall("tr")
            assert [row.find("th").get("scope") for row in rows] == ["row"] * len(pivot.rows)
            marked = [[cell.find("strong") is not None for cell in row.findall("td")] for row in rows]
            assert marked == [[value.best for value in row.values] for row in pivot.rows]
        words = " ".join("".join(section.itertext()).split())
        assert "Table 2 of mnemonic code (Yamashita et al.); higher is better" in words
        assert "n = 2" in words
        (title,) = {abbr.get("title") for abbr in section.iter("abbr")}
        assert title == "failed: every trial: loss is nan in epoch 2 <b>|</b>"
        assert "<code>layouts.csv</code>" in self.text(fake, "index.html")

    def test_markdown_has_the_tables_with_marks_and_missing_seeds(self, fake):
        text = self.text(fake, "report.md")
        made = found(fake)
        assert text.count(layouts_markdown(list(made.values()))) == 1
        assert text.index("## In the layout of the paper") < text.index("## Tables")
        head = "| Method | MNIST · fp | MNIST · 4w4a | CIFAR-10 · fp | CIFAR-10 · 4w4a |"
        assert text.count(head) == len(made)
        value = values(made["ta"], 3)["retrain"].figure
        assert f"{value.mean:.2f} ± {value.half:.2f} |" in text
        for pivot in made.values():
            for number, _ in enumerate(pivot.columns):
                for best_ in (v.figure for v in values(pivot, number).values() if v.best):
                    assert f"**{best_.mean:,.{decimals(best_.mean, pivot.places)}f}**" in text
        assert re.search(r"\| SFDN \| failed \| failed \| .*\d ± \d", text)
        assert re.search(r"\| SSD \|.*\(n = 2\) \|", text)
        assert "| *Original (Mnemonic)* |" in text

    def test_csv_is_tidy(self, fake):
        lines = list(csv.DictReader(io.StringIO(self.text(fake, "layouts.csv"))))
        made = found(fake)
        assert len(lines) == sum(len(p.rows) * len(p.columns) for p in made.values())
        at = {(line["figure"], line["method"], line["problem"]): line for line in lines}
        for figure, pivot in made.items():
            for row in pivot.rows:
                for column, value in zip(pivot.columns, row.values, strict=True):
                    line = at[figure, row.method, column.problem]
                    assert line["layout"] == pivot.layout.title
                    assert (line["best"] == "true") == value.best
                    assert line["reason"] == value.hole
                    if value.figure:
                        assert float(line["mean"]) == value.figure.mean
                        assert float(line["half"]) == value.figure.half
                        assert int(line["n"]) == value.figure.count
                    else:
                        assert (line["mean"], line["half"], line["n"]) == ("", "", "0")

    def test_latex_says_what_a_reader_needs(self, fake):
        text = self.text(fake, "tables.tex")
        first = text.split(r"\end{table}")[0]
        caption = re.search(r"\\caption\{(.*)\}", first)[1]
        for words in (
            "A\\_R",
            "Table 2",
            "95 \\% intervals over 3 seeds (n = 3",
            "Bold: the best",
            "higher is",
        ):
            assert words in caption
        assert r"\label{tab:layout-mnemonic-table-ta}" in first
        assert r"Method & MNIST fp & MNIST 4w4a & CIFAR-10 fp & CIFAR-10 4w4a \\" in first
        value = values(found(fake)["ta"])["retrain"].figure
        assert rf"{value.mean:.2f} $\pm$ {value.half:.2f}" in first
        assert r"SFDN & -- & -- & " in first
        assert r"\,($n = 2$)" in first
        assert r"\emph{Original (Mnemonic)}" in first
        for columns, body in re.findall(r"\\begin{tabular}{(\w+)}\n(.*?)\\end{tabular}", text, re.DOTALL):
            rows = [line for line in body.splitlines() if line.endswith(r"\\")]
            assert {len(re.findall(r"(?<!\\)&", row)) + 1 for row in rows} == {len(columns)}
        labels = re.findall(r"\\label{(.*?)}", text)
        assert len(labels) == len(set(labels))
        assert text.isascii()

    @pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no pdflatex on this machine")
    def test_latex_compiles(self, fake, tmp_path):
        packages = "\\usepackage{booktabs}\\usepackage{graphicx}"
        body = self.text(fake, "tables.tex")
        (tmp_path / "t.tex").write_text(
            f"\\documentclass{{article}}{packages}\\begin{{document}}{body}\\end{{document}}"
        )
        command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "t.tex"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout[-2000:]
        assert "Overfull" not in done.stdout


def test_one_seed_has_the_intervals_of_its_images_and_no_best():
    made = list(found(filled(seeds=(1,))).values())
    assert "One seed (n = 1): ± is what the number of images leaves open" in key_text(made)
    text = layouts_markdown(made)
    assert "±" in text
    assert "**" not in text


def test_a_wide_table_is_printed_in_parts():
    fake = filled("small", ratios=(0.1, 0.2, 0.3, 0.4, 0.5), quantizers=("4w4a", "fp"))
    (pivot,) = found(fake).values()
    parts = layouts_latex("small", [pivot])
    assert [len(part.columns) for part in parts] == [1 + WIDEST, 1 + 10 - WIDEST]
    assert [part.label for part in parts] == ["tab:layout-small-ag-1", "tab:layout-small-ag-2"]
    assert "(9 to 10)" in parts[1].caption
    heads = [head for part in parts for head in part.heads[1:]]
    assert len(set(heads)) == 10
