"""The tables for a paper: LaTeX that compiles, with every method, mark, floor and flag."""

import re
import shutil
import subprocess

import pytest

from orchestrator.report.latex.tables import escape, latex_tables
from orchestrator.report.writing import build_tables, write_report
from tasks.store.store import Store
from tests.orchestrator.fake_results import Fake, small_spec

GRIDS = {
    "one seed": {},
    "several seeds": {"seeds": (1, 2, 3), "ratios": (0.1, 0.3)},
    "several widths": {"quantizers": ("4w4a", "8w8a-perchannel-fpends", "fp")},
    "classes": {"classes": (3,), "methods": ("retrain", "l1_sparse", "qmul:order=sequential")},
    "contradicting rows": {"archs": ("mobilenetv2",), "ratios": (0.5,), "methods": ("retrain", "l1_sparse")},
    "two networks": {"archs": ("resnet18", "mobilenetv2"), "datasets": ("cifar10", "tiny_imagenet")},
}


def made(tmp_path, skip=lambda n: False, fail=lambda n: False, **changes):
    fake = Fake(Store(str(tmp_path)), small_spec(**changes))
    fake.fill(fail, skip)
    tables = build_tables(fake.spec, fake.plan, [row.model_dump() for row in fake.rows.values()])
    return tables, latex_tables(fake.spec, tables)


def is_ft(node):
    return node.kind == "trial" and node.inputs["method"] == "ft"


def whole(text):
    return "\\documentclass{article}\n\\usepackage{booktabs}\n\\usepackage{graphicx}\n" + (
        f"\\begin{{document}}\n{text}\n\\end{{document}}\n"
    )


@pytest.mark.parametrize("name", GRIDS)
def test_environments_braces_and_columns_are_even(name, tmp_path):
    _, text = made(tmp_path, **GRIDS[name])
    code = re.sub(r"(?m)^%.*$", "", text)
    plain = re.sub(r"\\[{}\\]", "", code)
    assert plain.count("{") == plain.count("}")
    for environment in ("table", "tabular"):
        assert code.count(f"\\begin{{{environment}}}") == code.count(f"\\end{{{environment}}}")
    for columns, body in re.findall(r"\\begin{tabular}{(\w+)}\n(.*?)\\end{tabular}", code, re.DOTALL):
        rows = [line for line in body.splitlines() if line.endswith(r"\\")]
        assert len(rows) >= 2
        assert {len(re.findall(r"(?<!\\)&", row)) + 1 for row in rows} == {len(columns)}
        assert body.count("\\toprule") == body.count("\\bottomrule") == 1
    labels = re.findall(r"\\label{(.*?)}", code)
    assert len(labels) == len(set(labels))
    assert all(re.fullmatch(r"tab:[a-z0-9-]+", label) for label in labels)
    assert code.isascii()


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no pdflatex on this machine")
@pytest.mark.parametrize("name", GRIDS)
def test_it_compiles(name, tmp_path):
    _, text = made(tmp_path / "s", skip=is_ft, **GRIDS[name])
    (tmp_path / "t.tex").write_text(whole(text))
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "t.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:]
    assert "Overfull" not in done.stdout


def test_figures_gaps_marks_and_floor_are_those_of_the_tables(tmp_path):
    tables, text = made(tmp_path, seeds=(1, 2))
    (table,) = tables
    of = {line.method: line for line in table.lines}
    assert text.count("\\textbf") == sum(line.mark == "best" for line in table.lines)
    assert "With 2 seeds, " in text
    fa = of["qmul"].figures["fa"]
    assert rf"{fa.mean:.2f} $\pm$ {fa.half:.2f}\,({fa.gap:.2f})" in text
    assert f"4w4a random 10 \\% {table.floor.mean:.2f}" in text
    assert "(n = 2)" in text
    assert re.search(r"& Retrain & .* & 0 \\\\", text)


def test_one_seed_says_that_the_floor_is_unknown(tmp_path):
    _, text = made(tmp_path)
    assert "is unknown" in text
    assert "95 \\% intervals by the images" in text
    assert r"\textbf" not in text


def test_rows_are_grouped_by_bits_and_forget_set(tmp_path):
    _, text = made(tmp_path, quantizers=("4w4a", "fp"), ratios=(0.1, 0.3))
    first = text.split(r"\end{table}")[0]
    assert [line.split(" & ")[:2] for line in first.splitlines() if re.match(r"(4w4a|fp) ", line)] == [
        [bits, f"random {share} \\%"] for bits in ("4w4a", "fp") for share in (10, 30)
    ]


def test_holes_are_dashes(tmp_path):
    _, text = made(tmp_path, fail=is_ft)
    assert re.search(r"& FT & -- & -- & -- & -- & -- \\\\", text)


def test_a_printed_row_that_contradicts_itself_is_flagged(tmp_path):
    _, text = made(tmp_path, **GRIDS["contradicting rows"])
    assert r"printed\,$\dagger$" in text
    assert "contradicts itself and is no target" in text
    assert r"$\ell_1$-sparse & ours" in text


def test_nothing_in_a_name_is_a_command():
    text = escape(r"50 % of a_b & {c} #1 $x$ ~^\ ± 3 × 2")
    assert text == (
        r"50 \% of a\_b \& \{c\} \#1 \$x\$ \textasciitilde{}\textasciicircum{}\textbackslash{} $\pm$ 3 $\times$ 2"
    )


def test_the_report_has_the_file(tmp_path):
    fake = Fake(Store(str(tmp_path)), small_spec())
    fake.fill()
    write_report(fake.store, fake.spec, fake.plan)
    assert fake.store.get("report/tables.tex").decode().count(r"\begin{tabular}") == 4
    # the main one, attack, quantization, and the printed figures
