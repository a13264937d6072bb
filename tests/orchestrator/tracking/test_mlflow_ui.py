"""The MLflow UI in a real browser: a real grid's numbers stand on its pages, as Parquet holds them."""

import json
import math

import pytest

from core.metrics.gap import FIGURES
from orchestrator import grid, load_results
from orchestrator.spec.specification import GridSpec
from orchestrator.spec.titles import title
from tests.browser import browser, needs_browser
from tests.one_problem import digits
from tests.orchestrator.grid_command import write_spec
from tests.pictures.mlflow import fold, folder, picture, served, visit

pytest.importorskip("mlflow", reason="mlflow is not installed")
pytestmark = [pytest.mark.slow, needs_browser, pytest.mark.timeout(600)]
PLACE = " · digits · resnet18 4w4a · 10 %"


@pytest.fixture(scope="module")
def store(private_surroundings, tmp_path_factory):
    """Eight methods on 240 digits, two trials each, by the command line."""
    place = tmp_path_factory.mktemp("ui")
    few = {name: {"epochs": 2, "batch_size": 32} for name in ("ft", "ga", "rl", "l1_sparse", "salun", "qmul")}
    values = digits().model_dump(mode="json") | {
        "original": {"epochs": 3, "batch_size": 32},
        "retrain": {"epochs": 3},
        "params": few,
        "data": {"limit": {"train": 240, "test": 80}},
        "search": {"trials": 2},
    }
    spec = write_spec(place, GridSpec.model_validate(values))
    assert grid.main(["--spec", str(spec), "--store", str(place / "grid"), "--executor", "inline"]) == 0
    return str(place / "grid")


@pytest.fixture(scope="module")
def cells(store):
    """The rows of Parquet that hold the figures of a method, by method."""
    found = load_results(store).to_dicts()
    chosen = {row["method"]: row for row in found if row["kind"] == "select"}
    whole = {
        row["method"]: row
        for row in found
        if row["kind"] == "evaluate" and row["method"] in ("retrain", "original")
    }
    return chosen | whole


@pytest.fixture(scope="module")
def pages(store):
    with served(store) as found:
        yield found


@pytest.fixture(scope="module")
def chromium(private_surroundings):
    with browser() as opened:
        yield opened


@pytest.fixture
def pictures(tmp_path):
    return folder(tmp_path)


def table(shown):
    """The runs table as the page shows it: by run name, the text of each column."""
    shown.get_by_text("matching run").first.wait_for()
    shown.locator(".ag-pinned-left-cols-container .ag-row").first.wait_for()
    lines = shown.evaluate(
        """() => {
            const lines = {};
            for (const row of document.querySelectorAll('.ag-row')) {
                const line = lines[row.getAttribute('row-index')] ??= {};
                for (const cell of row.querySelectorAll('.ag-cell'))
                    line[cell.getAttribute('col-id')] = cell.innerText.trim();
            }
            return Object.values(lines);
        }"""
    )
    return {line["attributes.`Run Name`"].split("\n")[-1]: line for line in lines}


def metrics_table(shown):
    """The compare page's metrics: values by name, in the order of the runs. Only lines in sight exist: it scrolls."""
    found = {}
    for step in range(36):
        shown.evaluate(
            """step => document.querySelectorAll('.ReactVirtualized__Grid').forEach(grid => {
                if (getComputedStyle(grid).overflowY === 'auto') grid.scrollTop = 120 * Math.floor(step / 3);
            })""",
            step,
        )
        shown.wait_for_timeout(250)
        found |= shown.evaluate(
            """() => {
                const lines = {};
                for (const box of document.querySelectorAll('.ReactVirtualized__Grid__innerScrollContainer'))
                    for (const cell of box.children)
                        (lines[cell.style.top] ??= []).push([box.offsetWidth, cell.offsetLeft, cell.innerText.trim()]);
                const told = Object.values(lines).map(
                    line => line.sort((a, b) => a[0] - b[0] || a[1] - b[1]).map(cell => cell[2]));
                return Object.fromEntries(told.filter(line => line.length === 9).map(line => [line[0], line.slice(1)]));
            }"""
        )
    return found


def as_javascript(value):
    """A number as the table writes it, of five digits: whole ones without a point."""
    value = float(f"{value:.5g}")
    return str(int(value)) if value == int(value) else repr(value)


def test_the_experiment_page_holds_the_numbers_of_parquet(pages, chromium, cells, pictures):
    with visit(chromium, pages["cells"], f"Q-MUL{PLACE}", width=1900) as shown:
        found = table(shown)
        picture(shown, pictures / "mlflow_cells.png")
    assert found.keys() == {title(method) + PLACE for method in cells}
    assert len(cells) == 9  # eight methods and the original
    for method, row in cells.items():
        line = found[title(method) + PLACE]
        assert line["tags.`method`"] == method
        assert {n: line[f"metrics.`{n}`"] for n in FIGURES} == {n: as_javascript(row[n]) for n in FIGURES}
        if row["kind"] == "select":
            assert line["metrics.`ag`"] == as_javascript(row["ag"])
    assert found[f"Retrain{PLACE}"]["metrics.`ag`"] in ("", "-")


def test_the_table_is_sorted_by_ag_and_its_columns_are_the_papers(pages, chromium, cells):
    with visit(chromium, pages["cells"], f"Q-MUL{PLACE}", width=1900) as shown:
        found = table(shown)
        heads = shown.locator(".ag-header-cell").evaluate_all(
            "cells => cells.sort((a, b) => a.getBoundingClientRect().x - b.getBoundingClientRect().x)"
            ".map(cell => cell.getAttribute('col-id'))"
        )
    *gaps, last = (line["metrics.`ag`"] for line in found.values())
    assert [float(gap) for gap in gaps] == sorted(map(float, gaps))
    assert last in ("", "-")  # Retrain has none
    metrics = [head for head in heads if head.startswith("metrics.")]
    assert metrics == [f"metrics.`{name}`" for name in ("ag", *FIGURES, "seconds")]


def test_a_filter_typed_into_the_search_box_finds_the_selected_trial(pages, chromium, cells, pictures):
    with visit(chromium, pages["cells"], f"Q-MUL{PLACE}") as shown:
        box = shown.get_by_role("combobox").or_(shown.get_by_placeholder("metrics.rmse")).first
        box.fill("tags.method = 'qmul' and tags.selected = 'true'")
        box.press("Enter")
        shown.locator("text=1 matching run").first.wait_for()
        (name,) = table(shown)
        picture(shown, pictures / "mlflow_filter.png")
    value = json.loads(cells["qmul"]["params"])["lr"]
    assert name == f"Q-MUL · lr {value:g}{PLACE}"


def test_the_compare_page_lays_eight_methods_side_by_side(pages, chromium, cells, pictures):
    with visit(chromium, pages["compare"], "Comparing 8 Runs", width=2300) as shown:
        names = shown.locator("tr", has_text="Run Name:").first.locator("td").all_inner_texts()
        fold(shown)
        picture(shown, pictures / "mlflow_compare.png")
        text, values = shown.locator("body").inner_text(), metrics_table(shown)
    methods = [name.strip().removesuffix(PLACE) for name in names if name.strip()]
    names = ["retrain", "ft", "ga", "iu", "rl", "l1_sparse", "salun", "qmul"]
    assert methods == list(map(title, names))
    assert "Something went wrong" not in text
    for name in (*FIGURES, "ag"):
        expected = [cells[method][name] for method in names if cells[method][name] is not None]
        numbers = [float(value) for value in values[name] if value]
        told = [number for number in numbers if not math.isnan(number)]  # Retrain's AG is none
        assert told == pytest.approx(expected, abs=0.0056)  # rounded to three decimals, then to two


def test_trials_are_drawn_as_charts_in_the_methods_colours(pages, chromium, pictures):
    with visit(chromium, pages["charts"], "lr vs. ag") as shown:
        shown.locator(".js-plotly-plot").nth(1).wait_for()
        picture(shown, pictures / "mlflow_charts.png")
        titles = shown.locator("body").inner_text()
        drawn = shown.locator(".js-plotly-plot").count()
    for heading in (
        "Parallel Coordinates",
        "lr vs. ag",
        "seconds vs. ag",
        "epoch/loss",
        "epoch/retain_accuracy",
    ):
        assert heading in titles
    assert drawn >= 3


def test_a_cell_shows_its_trials_and_its_chart(pages, chromium, pictures):
    with visit(chromium, pages["cells"], f"Q-MUL{PLACE}") as shown:
        shown.get_by_role("link", name=f"Q-MUL{PLACE}").click()
        shown.get_by_text("About this run").wait_for()
        picture(shown, pictures / "mlflow_run.png")
        said = shown.locator("body").inner_text()
        shown.get_by_role("tab", name="Artifacts").click()
        shown.get_by_text("search.svg").first.click()
        chart = shown.locator("img[src^='blob:']").first
        chart.wait_for(state="attached")
        assert chart.evaluate("image => image.decode().then(() => image.naturalWidth)") > 400
        picture(shown, pictures / "mlflow_chart.png")
        shown.get_by_text("trials.csv").first.click()
        shown.get_by_text("ag_validation").first.wait_for()
        picture(shown, pictures / "mlflow_trials.png")
    assert "weights:" in said
    assert "/model.safetensors" in said
