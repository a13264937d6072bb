import base64
import csv
import hashlib
import io
import math
import re
import statistics
from dataclasses import replace
from xml.etree import ElementTree

import pytest
from rich.console import Console

from core.metrics.gap import FIGURES
from orchestrator.plan.grid_plan import make_plan
from orchestrator.report import markdown
from orchestrator.report.heading import heading, origin
from orchestrator.report.image_noise import wilson
from orchestrator.report.writing import build_tables, print_tables, write_report
from orchestrator.results.reading import read_rows
from orchestrator.spec import titles
from orchestrator.spec.overrides import with_overrides
from orchestrator.spec.recipes import digits
from tasks.store.store import Store
from tasks.store.uri import public
from tests.orchestrator.fake_results import Fake, small_spec


def rows_of(fake: Fake) -> list[dict]:
    return [record.model_dump() for record in fake.rows.values()]


def filled(uri="memory://report", fail=lambda n: False, skip=lambda n: False, **changes) -> Fake:
    store = Store(str(uri))
    store.remove("")
    fake = Fake(store, small_spec(**changes))
    fake.fill(fail, skip)
    return fake


def tables(fake: Fake):
    return build_tables(fake.spec, fake.plan, rows_of(fake))


def lines(table):
    return {line.method: line for line in table.lines}


def is_method(name, kind="trial"):
    return lambda node: node.kind == kind and node.inputs.get("method") == name


class TestTables:
    def test_original_then_retrain_then_methods_in_registry_order(self):
        (table,) = tables(filled(methods=("qmul", "salun", "retrain", "ft")))
        assert [line.method for line in table.lines] == ["original", "retrain", "ft", "salun", "qmul"]

    def test_figures_and_gaps_are_those_of_the_rows(self):
        fake = filled()
        (table,) = tables(fake)
        cells = {cell.method: fake.rows[key] for cell, key in fake.plan.cells.items()}
        for name in FIGURES:
            figure = lines(table)["ft"].figures[name]
            assert figure.mean == getattr(cells["ft"], name)
            assert figure.gap == abs(getattr(cells["ft"], name) - getattr(cells["retrain"], name))
        assert lines(table)["ft"].ag.mean == cells["ft"].ag
        assert lines(table)["retrain"].ag.mean == 0
        assert lines(table)["retrain"].figures["fa"].gap is None

    def test_made_up_figures_of_one_seed_have_no_best(self):
        (table,) = tables(filled())
        assert {line.mark for line in table.lines} == {""}  # see test_verdict.py for those that have one

    def test_several_seeds_give_mean_and_t_interval(self):
        fake = filled(seeds=(1, 2, 3))
        (table,) = tables(fake)
        values = [fake.rows[key].fa for cell, key in fake.plan.cells.items() if cell.method == "qmul"]
        reference = [fake.rows[key].fa for cell, key in fake.plan.cells.items() if cell.method == "retrain"]
        figure = lines(table)["qmul"].figures["fa"]
        assert figure.mean == pytest.approx(statistics.fmean(values))
        of_seeds = 4.302652729911275 * statistics.stdev(values) / 3**0.5
        of_images = [max(v - wilson(v, 4500).low, wilson(v, 4500).high - v) for v in values]
        assert figure.half == pytest.approx(math.hypot(of_seeds, math.hypot(*of_images) / 3))
        assert figure.gap == pytest.approx(abs(statistics.fmean(values) - statistics.fmean(reference)))

    def test_missing_seeds_are_counted_named_and_not_ranked(self):
        fake = filled(
            seeds=(1, 2, 3),
            skip=lambda n: is_method("qmul")(n) and n.inputs["seed"] == 2,
            fail=lambda n: False,
        )
        (table,) = tables(fake)
        line = lines(table)["qmul"]
        assert (line.count, line.seeds, line.mark) == (2, 3, "")
        assert "Q-MUL, seed 2: missing: not run yet" in table.notes

    def test_an_empty_grid_is_all_holes(self):
        spec = small_spec()
        (table,) = build_tables(spec, make_plan(spec), [])
        assert {line.hole for line in table.lines} == {"missing: not run yet"}

    def test_holes_say_why(self):
        fake = filled(
            fail=lambda n: is_method("ft")(n),
            skip=lambda n: (
                is_method("qmul", "select")(n) or (is_method("salun")(n) and "0.005" in n.inputs["tried"])
            ),
        )
        (table,) = tables(fake)
        assert lines(table)["ft"].hole == "failed: every trial: loss is nan in epoch 2 <b>|</b>"
        assert lines(table)["qmul"].hole == "unfinished: 3 of 3 trials done"
        assert lines(table)["salun"].hole == "unfinished: 2 of 3 trials done"
        assert not any(line.mark for line in table.lines)

    def test_a_failed_retrain_explains_every_method(self):
        (table,) = tables(filled(fail=is_method("retrain", "retrain")))
        assert {line.hole.split(" loss")[0] for line in table.lines[1:]} == {"failed: its retrain:"}
        assert lines(table)["original"].figures["fa"].gap is None
        assert lines(table)["original"].ag is None

    def test_a_failed_trial_is_mentioned(self):
        fake = filled(fail=lambda n: is_method("ft")(n) and n.inputs["tried"] == "lr 0.1")
        (table,) = tables(fake)
        assert table.notes == ("FT: 1 of 3 trials failed and were passed over",)

    def test_one_table_for_each_forget_set_and_seeds_within(self):
        found = tables(filled(ratios=(0.1, 0.3), seeds=(1, 2), quantizers=("4w4a", "fp")))
        assert [table.title.split(" · ")[-2:] for table in found] == [
            ["4w4a", "random 10 %"],
            ["4w4a", "random 30 %"],
            ["fp", "random 10 %"],
            ["fp", "random 30 %"],
        ]
        assert dict(found[0].facts)["Forget set"] == "random 10 %: 4,500 of 45,000 images"
        (by_class,) = tables(filled(classes=(3,)))
        assert by_class.title.endswith(" · class 3")

    def test_protocol_splits_and_selection_are_stated(self):
        (table,) = tables(filled())
        facts = dict(table.facts)
        assert facts["Protocol"] == "paper (the equations), one split"
        selection = "up to 3 trials per method, selected on validation figures, reported on test figures"
        assert facts["Selection"] == selection
        (table,) = tables(filled(protocol="released"))
        facts = dict(table.facts)
        assert facts["Protocol"].startswith("released (as the published code), mismatched splits")
        assert "selected on test figures" in facts["Selection"]

    def test_flip_rate_and_step_drift_are_means_in_percent(self):
        fake = filled(seeds=(1, 2))
        (table,) = tables(fake)
        chosen = [fake.rows[key] for cell, key in fake.plan.cells.items() if cell.method == "qmul"]
        line = lines(table)["qmul"]
        assert line.figures["flip_rate"].mean == pytest.approx(
            100 * statistics.fmean(row.flip_rate for row in chosen)
        )
        assert line.figures["step_drift"].mean == pytest.approx(
            100 * statistics.fmean(row.step_drift for row in chosen)
        )
        found = {one.title: [n.method for n in one.lines] for one in table.figure_tables}
        assert found["Quantization"] == ["ft", "salun", "qmul"]

    def test_rows_without_a_step_drift_have_none(self):
        fake = filled()
        rows = [row | {"step_drift": None, "flip_rate": None} for row in rows_of(fake)]
        (table,) = build_tables(fake.spec, fake.plan, rows)
        assert "Quantization" not in [found.title for found in table.figure_tables]

    def test_retrain_is_shown_also_where_the_grid_does_not_list_it(self):
        (table,) = tables(filled(methods=("ft",)))
        assert [line.method for line in table.lines] == ["original", "retrain", "ft"]


class TestGradientNorms:
    def table(self, change=lambda fact, row: None, curve=3, **changes):
        store = Store("memory://report")
        store.remove("")
        fake = Fake(store, small_spec(**changes), curve=curve)
        fake.fill()
        rows = rows_of(fake)
        for row in rows:
            for fact in row["curve"] or ():
                change(fact, row)
        return build_tables(fake.spec, fake.plan, rows)[0].norms

    def test_ratios_are_means_over_seeds(self):
        def change(fact, row):
            if fact["name"].endswith("gradient_norm"):
                fact["value"] = 2.0 if fact["name"].startswith("retain") else 4.0 * row["seed"]

        norms = self.table(change, seeds=(1, 2))  # 4 / 2 and 8 / 2
        assert norms.epochs == (1, 2, 3)
        ratios = {line.method: line.values for line in norms.lines if line.what == "forget / retain"}
        assert ratios == {method: {1: 3.0, 2: 3.0, 3: 3.0} for method in ("salun", "qmul")}
        weights = [line.method for line in norms.lines if line.what == "w_forget"]
        assert weights == ["qmul"]

    def test_a_vanishing_retain_norm_leaves_a_hole(self):
        def change(fact, row):
            if fact["name"] == "retain_gradient_norm" and fact["epoch"] == 1:
                fact["value"] = 0.0

        norms = self.table(change, methods=("retrain", "salun"))
        assert [sorted(line.values) for line in norms.lines] == [[1, 3]]

    def test_many_epochs_are_thinned_out(self):
        epochs = self.table(curve=40).epochs
        assert (len(epochs), epochs[0], epochs[-1]) == (12, 1, 40)

    def test_without_measurements_there_is_no_table(self):
        assert self.table(methods=("retrain", "ft")) is None


class TestTerminal:
    def text(self, fake, width, **options):
        console = Console(width=width, file=io.StringIO(), **options)
        print_tables(console, tables(fake))
        return console.file.getvalue()

    @pytest.mark.parametrize("seeds", [(1,), (1, 2, 3)])
    @pytest.mark.parametrize("width", [80, 110, 160])
    def test_fits_and_is_complete(self, seeds, width):
        methods = ("retrain", "qmul", "l1_sparse", "l1_sparse:penalise_quantizers=true")
        text = self.text(filled(seeds=seeds, methods=methods), width)
        assert max(map(len, text.splitlines())) <= width
        assert "…" not in text
        assert "\x1b" not in text
        assert re.search(r"Q-MUL .* \d", text)
        assert "Beside the published figures (table 1)" in text
        assert re.search(r"^Retrain .*\d (min|s)( |$)", text, re.MULTILINE)  # RTE, the last figure

    def test_the_longest_figures_fit(self):
        fake = filled(seeds=(1, 2), classes=(3,), methods=("retrain", "ft", "qmul", "qmul:order=sequential"))
        rows = rows_of(fake)
        for row in rows:
            chosen = row["method"] == "retrain" or row["seed"] == 1
            row |= {"fa": 46.5, "mia": 82.8} if chosen else {"fa": 100.0, "ra": 100.0, "mia": 0.0}
            row |= {"ag": 75.25 + row["seed"]} if row["kind"] == "select" else {}
        console = Console(width=80, file=io.StringIO())
        print_tables(console, build_tables(fake.spec, fake.plan, rows))
        text = console.file.getvalue()
        assert "…" not in text
        assert re.search(r"^FT .* 76\.75\S* +\d+\.\d (min|s) *$", text, re.MULTILINE)

    def test_more_width_shows_more(self):
        fake = filled(seeds=(1, 2, 3))
        narrow, middle, wide = (self.text(fake, width) for width in (80, 120, 200))
        assert "Hyper-parameters" in wide
        assert "Hyper-parameters" not in middle
        assert re.search(r"Retrain +\d+\.\d ± \d", middle)
        assert not re.search(r"Retrain +\d+\.\d ± \d", narrow)
        assert "FA ours" in wide
        assert "as printed, and ours less printed" in narrow

    def test_the_noise_floor_stands_above_the_figures(self):
        text = self.text(filled(), 80)
        assert "Noise floor: unknown with one seed: how far two trainings lie apart" in text
        assert text.index("Noise floor") < text.index("\nRetrain")
        assert text.index("With one seed, ") < text.index("Noise floor")
        assert "≈R" not in text.split("FA, RA, TA:")[0]
        text = self.text(filled(seeds=(1, 2)), 80)
        assert re.search(r"Noise floor: AG \d\.\d\d between Retrains of different seed \(1 pair\)", text)
        assert "≈R: the AG itself is within the noise floor" in " ".join(text.split())

    def test_ranks_are_signs_where_there_is_no_style(self):
        fake = filled(seeds=(1, 2, 3))
        (table,) = tables(fake)
        lines_ = [replace(line, mark="best") if line.method == "ft" else line for line in table.lines]
        marked = replace(table, lines=tuple(lines_))

        def text(**options):
            console = Console(width=80, file=io.StringIO(), **options)
            print_tables(console, [marked])
            return console.file.getvalue()

        assert re.search(r"^FT .*\d\*", text(), re.MULTILINE)
        assert "* best, + second best AG." in text()
        assert not re.search(r"\d\*", text(force_terminal=True, color_system="standard"))

    def test_holes_are_named(self):
        text = self.text(filled(skip=is_method("ft")), 80)
        assert "FT: missing: not run yet" in text


class TestFiles:
    @pytest.fixture(params=["local", "memory"])
    def uri(self, request, tmp_path):
        return str(tmp_path / "grid") if request.param == "local" else "memory://report"

    def write(self, fake, warnings=()):
        files = write_report(fake.store, fake.spec, fake.plan, warnings)
        return files, *(
            fake.store.get(f"report/{n}").decode() for n in ("index.html", "report.md", "results.csv")
        )

    def test_csv_has_every_seed_at_full_precision(self, uri):
        fake = filled(uri, seeds=(1, 2), skip=is_method("ft", "select"))
        files, _, _, text = self.write(fake)
        assert files.csv.endswith("report/results.csv")
        read = list(csv.DictReader(io.StringIO(text)))
        assert len(read) == 2 * 5
        for line in read:
            if line["method"] == "ft":
                assert (line["status"], line["fa"]) == ("unfinished", "")
                continue
            row = fake.rows[line["key"]]
            assert [float(line[n]) for n in FIGURES] == [getattr(row, n) for n in FIGURES]
            assert float(line["seconds"]) == row.seconds
            if row.ag is not None:
                assert float(line["ag"]) == row.ag

    def test_csv_has_the_published_figures_and_the_difference(self, uri):
        fake = filled(uri, methods=("retrain", "qmul", "qmul:order=sequential"))
        *_, text = self.write(fake)
        of = {line["method"]: line for line in csv.DictReader(io.StringIO(text))}
        line = of["qmul"]
        assert [float(line[f"{n}_published"]) for n in (*FIGURES, "ag")] == [97.11, 99.67, 92.39, 12.49, 1.3]
        assert float(line["fa_difference"]) == pytest.approx(float(line["fa"]) - 97.11)
        assert float(line["ag_difference"]) == pytest.approx(float(line["ag"]) - 1.3)
        assert (line["published_table"], line["published_note"]) == ("1", "")
        assert (of["retrain"]["ag_published"], of["retrain"]["ag_difference"]) == ("0.0", "")
        for method in ("original", "qmul:order=sequential"):
            assert {v for k, v in of[method].items() if "published" in k or "difference" in k} == {""}

    def test_csv_leaves_out_the_difference_to_a_row_that_contradicts_itself(self, uri):
        fake = filled(uri, archs=("mobilenetv2",), ratios=(0.5,), methods=("retrain", "l1_sparse"))
        *_, text = self.write(fake)
        line = next(x for x in csv.DictReader(io.StringIO(text)) if x["method"] == "l1_sparse")
        assert line["published_note"] == "fa: printed gap 11.09 but |value-retrain| = 75.63"
        assert line["fa_published"] == "6.64"
        assert {line[f"{n}_difference"] for n in (*FIGURES, "ag")} == {""}

    def test_gradient_norms_of_every_epoch_and_seed(self, uri):
        fake = filled(uri, seeds=(1, 2))
        self.write(fake)
        text = fake.store.get("report/gradient_norms.csv").decode()
        read = list(csv.DictReader(io.StringIO(text)))
        assert len(read) == 2 * 2 * 3  # SalUn and Q-MUL, two seeds, three epochs
        line = next(x for x in read if (x["method"], x["seed"], x["epoch"]) == ("qmul", "2", "3"))
        (cell,) = (key for at, key in fake.plan.cells.items() if (at.method, at.seed) == ("qmul", 2))
        curve = fake.rows[fake.rows[cell].model].curve
        facts = {fact.name: fact.value for fact in curve if fact.epoch == 2}
        assert float(line["forget_gradient_norm"]) == facts["forget_gradient_norm"]
        assert float(line["ratio"]) == facts["forget_gradient_norm"] / facts["retain_gradient_norm"]
        assert float(line["w_forget"]) == facts["w_forget"]

    def test_every_trial_is_a_line_of_a_csv(self, uri):
        fake = filled(uri, seeds=(1, 2))
        self.write(fake)
        read = list(csv.DictReader(io.StringIO(fake.store.get("report/trials.csv").decode())))
        assert len(read) == 2 * 3 * 3  # three methods, three trials, two seeds
        chosen = {
            fake.rows[key].selected for cell, key in fake.plan.cells.items() if cell.method != "retrain"
        }
        assert {line["key"] for line in read if line["selected"] == "true"} == chosen
        for line in read:
            row, reference = fake.rows[line["key"]], fake.rows[line["reference"]]
            assert float(line["fa"]) == row.fa
            assert float(line["ta_gap"]) == abs(row.ta - reference.ta)
            assert float(line["ag"]) == pytest.approx(
                statistics.fmean(float(line[f"{n}_gap"]) for n in FIGURES)
            )

    def test_page_and_markdown_say_which_selected_values_sit_at_an_end(self, uri):
        fake = filled(uri)
        (table,) = tables(fake)
        _, page, text, _ = self.write(fake)
        assert all(edge in text for edge in table.edges)
        words_ = " ".join("".join(ElementTree.fromstring(page).itertext()).split())
        assert all(edge in words_ for edge in table.edges)

    def test_failures_are_grouped_with_the_command(self, uri):
        fake = filled(uri, fail=lambda n: is_method("ft")(n) or is_method("salun")(n))
        _, page, _, _ = self.write(fake)
        assert page.count("--retry-failed") == 1  # one kind, one command
        assert ">numeric</span> 6 nodes" in page

    def test_keys_of_what_was_selected_are_listed(self, uri):
        fake = filled(uri)
        _, page, _, _ = self.write(fake)
        for cell, key in fake.plan.cells.items():
            assert f"<code>{key[:12]}</code>" in page
            if cell.method != "retrain":
                assert f"<code>{fake.rows[key].selected[:12]}</code>" in page

    def test_keys_lead_to_the_models_files(self, uri):
        fake = filled(uri)
        _, page, _, _ = self.write(fake)
        models = {fake.rows[key].model for key in fake.plan.cells.values()}
        assert all(f'<a href="../artifacts/{model}/">' in page for model in models)

    def test_the_page_has_every_trial_and_explains_what_is_abbreviated(self, uri):
        fake = filled(uri, seeds=(1, 2))
        _, page, _, _ = self.write(fake)
        root = ElementTree.fromstring(page)
        (trials,) = (one for one in root.iter("details") if one.get("class") == "trials")
        rows = trials.findall(".//tbody/tr")
        assert len(rows) == 2 * 3 * 3
        assert sum(row.get("class") == "selected" for row in rows) == 2 * 3
        explained = {abbr.text: abbr.get("title") for abbr in root.iter("abbr")}
        assert {"FA", "RA", "TA", "MIA", "AG", "RTE"} <= explained.keys()
        assert explained["SalUn"].startswith("SalUn: random labels, but only salient weights may move")
        assert explained["Original"] == "the network before unlearning"

    def test_the_page_is_called_by_its_data_unless_it_is_a_recipes_own(self):
        assert heading(digits()) == "digits"
        assert (
            heading(with_overrides(digits().model_dump(mode="json"), ["tracking.enabled=false"])) == "digits"
        )
        changed = with_overrides(digits().model_dump(mode="json"), ["data.limit.train=100", "classes=[]"])
        assert (
            heading(changed).replace("\N{NO-BREAK SPACE}", " ") == "Digits · ResNet-18 · 4w4a · random 30 %"
        )
        assert origin(changed) == "after the recipe digits, changed"
        own = small_spec(datasets=("folder:flowers:32",), classes=(1, 2, 3, 4))
        assert heading(own) == "flowers, 32 px · ResNet-18 · 4w4a · 4 forget sets"
        assert origin(own) == "grid small"

    def test_parquet_holds_all_rows(self, uri):
        from core.metrics import all_columns
        from orchestrator.results.figures import wide_schema, with_figures
        from orchestrator.results.parquet import as_table
        from tasks.record import SCHEMA, from_parquet

        fake = filled(uri)
        self.write(fake)
        data = fake.store.get("report/results.parquet")
        rows = with_figures(read_rows(fake.store)[0])
        expected = as_table(rows, wide_schema(rows)).to_pylist()
        assert from_parquet(data) == [row | {"superseded_by": None} for row in expected]
        declared = [name for name in SCHEMA.names if name != "scores"]
        metrics = [name for name in all_columns() if name not in declared]
        assert list(from_parquet(data)[0]) == [*declared, *metrics, "superseded_by"]

    def test_page_is_well_formed_and_needs_nothing_from_outside(self, uri):
        fake = filled(uri, seeds=(1, 2), classes=(3,), fail=is_method("ft"), skip=is_method("salun"))
        _, page, _, _ = self.write(fake, ["a part was <corrupt> & \x07 moved"])
        assert "Beside the published figures: table 5" in page
        root = ElementTree.fromstring(page)
        assert root.tag == "html"
        for element in root.iter():
            assert element.tag not in ("link", "img", "iframe")
            assert element.get("src") is None
            assert (element.get("href") or "#").startswith(("#", "../artifacts/"))  # in the store itself
        (style,) = (element.text for element in root.iter("style"))
        assert "url(" not in style
        assert "@import" not in style
        policy = next(m.get("content") for m in root.iter("meta") if m.get("http-equiv"))
        assert policy.startswith("default-src 'none'; ")
        assert "unsafe-eval" not in policy
        for script in root.iter("script"):
            if script.get("type") != "application/json":
                source = re.search(f"<script>{re.escape('//<![CDATA[')}.*?</script>", page, re.DOTALL)
                digest = hashlib.sha256(source[0][8:-9].encode()).digest()
                assert f"'sha256-{base64.b64encode(digest).decode()}'" in policy
                page = page.replace(source[0], "")

    @pytest.mark.parametrize(("seeds", "count"), [((1,), 0), ((1, 2), 2)])
    def test_page_tells_at_a_glance_what_can_be_told_apart(self, uri, seeds, count):
        _, page, _, _ = self.write(filled(uri, ratios=(0.1, 0.3), seeds=seeds))
        for words in ("Smallest AG", "Not told apart from it", "Closer than original"):
            assert f">{words}</th>" in page
        assert (">Noise floor</th>" in page) == bool(count)
        assert page.count("between Retrains of different seed (1 pair)") == count

    def test_page_shows_failures_warnings_and_how_to_go_on(self, uri):
        fake = filled(uri, fail=is_method("ft"))
        _, page, _, _ = self.write(fake, ["something <odd>"])
        text = "".join(ElementTree.fromstring(page).itertext())
        assert "loss is nan in epoch 2 <b>|</b>" in text
        assert "Diverged: loss is nan" in text  # out of the log
        assert f"python -m orchestrator.grid run --store {fake.store.uri} --retry-failed" in text
        assert "something <odd>" in text
        assert "recipe: small" in text

    def test_a_password_in_the_spec_stays_out(self, uri):
        fake = filled(uri, tracking={"uri": "https://me:secret@mlflow.example"})
        for text in self.write(fake)[1:]:
            assert "secret" not in text

    def test_markdown_layout(self, uri):
        fake = filled(uri, fail=lambda n: is_method("ft")(n))
        _, _, text, _ = self.write(fake)
        for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
            assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}) == 1
        start = text.index("| Method | FA | RA | TA | MIA | AG | RTE | Hyper-parameters |")
        table = text[start:].split("\n\n")[0].splitlines()
        assert table[1] == "|:--|--:|--:|--:|--:|--:|--:|:--|"
        assert all(len(re.findall(r"(?<!\\)\|", line)) == 9 for line in table)
        assert re.search(r"\| Q-MUL \| \d+\.\d\d ± \d\.\d\d \(\d+\.\d\d\) \|", text)
        assert re.search(r"^> With one seed, ", text, re.MULTILINE)
        assert "#### Beside the published figures: table 1" in text
        assert re.search(r"\| Q-MUL \| \d+\.\d\d / 97\.11 / −\d\.\d\d \|", text)
        assert "| SalUn | forget / retain | " in text
        assert re.search(r"\| FT \| – \| – \| – \| – \| – \| – \| failed: every trial: loss is nan", text)

    def test_an_empty_store_gives_a_page_of_holes(self, uri):
        fake = filled(uri, skip=lambda n: True)
        _, page, _, _ = self.write(fake)
        assert "5 missing" not in page
        assert "4 missing" in page

    def test_a_repaired_part_is_a_warning(self, uri):
        fake = filled(uri)
        fake.store.put(f"parts/{next(iter(fake.rows))}.parquet", b"PAR1")
        assert "moved to quarantine/" in self.write(fake)[1]


def test_ratios_have_three_significant_digits():
    values = (None, 0.0, 0.00002, 0.004321, 0.5, 1.0, 12.345, 1234.5)
    assert [markdown.ratio_text(v) for v in values] == [
        "–", "0", "2.0e-05", "0.00432", "0.500", "1.00", "12.3", "1,234",
    ]  # fmt: skip


def test_words():
    times = [titles.duration(s) for s in (0.42, 12.34, 246, 9400, 50_983_200)]
    assert times == ["0.42 s", "12.3 s", "4.1 min", "2.6 h", "590 days"]
    assert titles.quantization("2w") == (
        "2-bit weights, full-precision activations (LSQ+; first and last layer 8-bit)"
    )
    assert titles.quantization("fp") == "full precision"
    assert public("https://u:p@host/x") == "https://host/x"
    assert titles.hyper_parameters("lr 0.012 fraction 0.37") == "lr 0.012, fraction 0.37"
