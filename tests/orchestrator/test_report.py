import csv
import io
import re
import statistics
from xml.etree import ElementTree

import pytest
from fake_results import Fake, small_spec
from rich.console import Console

from core.metrics.gap import FIGURES
from orchestrator import words
from orchestrator.plan import make_plan
from orchestrator.report import build_tables, print_tables, write_report
from orchestrator.store import read_rows
from tasks.store import Store


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

    def test_the_smallest_gap_is_best_and_retrain_and_original_have_no_rank(self):
        (table,) = tables(filled())
        ags = {m: line.ag.mean for m, line in lines(table).items() if line.role == "method"}
        first, second, third = sorted(ags, key=ags.__getitem__)
        marks = {m: line.mark for m, line in lines(table).items()}
        assert marks == {first: "best", second: "second", third: "", "original": "", "retrain": ""}

    def test_a_tie_as_printed_shares_its_rank(self):
        fake = filled()
        changed = rows_of(fake)
        gaps = {"ft": 1.2341, "salun": 1.2342, "qmul": 3.0}
        for row in changed:
            if row["kind"] == "select":
                row["ag"] = gaps[row["method"]]
        (table,) = build_tables(fake.spec, fake.plan, changed)
        assert [line.mark for line in table.lines] == ["", "", "best", "best", "second"]

    def test_several_seeds_give_mean_and_t_interval(self):
        fake = filled(seeds=(1, 2, 3))
        (table,) = tables(fake)
        values = [fake.rows[key].fa for cell, key in fake.plan.cells.items() if cell.method == "qmul"]
        reference = [fake.rows[key].fa for cell, key in fake.plan.cells.items() if cell.method == "retrain"]
        figure = lines(table)["qmul"].figures["fa"]
        assert figure.mean == pytest.approx(statistics.fmean(values))
        assert figure.half == pytest.approx(4.302652729911275 * statistics.stdev(values) / 3**0.5)
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
        found = tables(filled(ratios=(0.1, 0.3), classes=(3,), seeds=(1, 2), quantizers=("4w4a", "fp")))
        assert len(found) == 6
        assert [table.title.split(" · ")[-2:] for table in found[:3]] == [
            ["4w4a", "random 10 %"],
            ["4w4a", "random 30 %"],
            ["4w4a", "class 3"],
        ]
        assert dict(found[0].facts)["Forget set"] == "random 10 %: 4,500 of 45,000 images"

    def test_retrain_is_shown_also_where_the_grid_does_not_list_it(self):
        (table,) = tables(filled(methods=("ft",)))
        assert [line.method for line in table.lines] == ["original", "retrain", "ft"]


class TestTerminal:
    def text(self, fake, width, **options):
        console = Console(width=width, file=io.StringIO(), **options)
        print_tables(console, tables(fake))
        return console.file.getvalue()

    @pytest.mark.parametrize("seeds", [(1,), (1, 2, 3)])
    @pytest.mark.parametrize("width", [80, 100, 120])
    def test_fits_and_is_complete(self, seeds, width):
        text = self.text(filled(seeds=seeds), width)
        assert max(map(len, text.splitlines())) <= width
        assert "…" not in text
        assert "\x1b" not in text
        assert re.search(r"Q-MUL .* \d", text)

    def test_ranks_are_signs_where_there_is_no_style(self):
        (best,) = (line for line in tables(filled())[0].lines if line.mark == "best")
        assert f"{best.ag.mean:.2f}*" in self.text(filled(), 80)
        styled = self.text(filled(), 80, force_terminal=True, color_system="standard")
        assert f"{best.ag.mean:.2f}*" not in styled

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

    def test_parquet_holds_all_rows(self, uri):
        from orchestrator.store import as_table
        from tasks.record import SCHEMA, from_parquet

        fake = filled(uri)
        self.write(fake)
        data = fake.store.get("report/results.parquet")
        assert from_parquet(data) == as_table(read_rows(fake.store)[0]).to_pylist()
        assert list(from_parquet(data)[0]) == SCHEMA.names

    def test_page_is_well_formed_and_needs_nothing_from_outside(self, uri):
        fake = filled(uri, seeds=(1, 2), classes=(3,), fail=is_method("ft"), skip=is_method("salun"))
        _, page, _, _ = self.write(fake, ["a part was <corrupt> & \x07 moved"])
        root = ElementTree.fromstring(page)
        assert root.tag == "html"
        for element in root.iter():
            assert element.tag not in ("script", "link", "img", "iframe")
            assert element.get("src") is None
            assert (element.get("href") or "#").startswith("#")
        assert "url(" not in page
        assert "@import" not in page

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
        start = text.index("| Method | FA | RA | TA | MIA | AG | RTE | Hyper-parameters |")
        table = text[start:].split("\n\n")[0].splitlines()
        assert table[1] == "|:--|--:|--:|--:|--:|--:|--:|:--|"
        assert all(len(re.findall(r"(?<!\\)\|", line)) == 9 for line in table)
        assert re.search(r"\| Q-MUL \| \d+\.\d\d \(\d+\.\d\d\) \|.*\*\*\d\.\d\d\*\*", text)
        assert re.search(r"<u>\d\.\d\d</u>", text)
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


def test_words():
    assert [words.duration(s) for s in (0.42, 12.34, 246, 9400)] == ["0.42 s", "12.3 s", "4.1 min", "2.6 h"]
    assert words.quantization("2w") == (
        "2-bit weights, full-precision activations (LSQ+; first and last layer 8-bit)"
    )
    assert words.quantization("fp") == "full precision"
    assert words.public("https://u:p@host/x") == "https://host/x"
    assert words.hyper_parameters("lr 0.012 fraction 0.37") == "lr 0.012, fraction 0.37"
