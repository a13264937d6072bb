"""The report in a real browser, out of a real small grid: complete, readable, and quiet on the network.

The pictures go to the folder in UNLEARN_GRID_PICTURES, for people to look at.
"""

import os
from pathlib import Path

import pytest

from orchestrator.grid import main
from orchestrator.report.charts.theme import DARK_CARD
from orchestrator.report.writing import write_report
from tasks.store.store import Store
from tests.browser import browser, needs_browser
from tests.orchestrator.fake_results import Fake, small_spec
from tests.pictures.report import NARROW, WIDE, draw_all, opened, pictures_by

pytestmark = [needs_browser, pytest.mark.slow, pytest.mark.timeout(900)]
SMALL = (
    "seeds=1,2", "ratios=0.1,0.3", "classes=[]", "search.trials=3", "probe=32", "original.epochs=15",
    "retrain.epochs=15", "params.all.epochs=2", "data.limit.train=240", "data.limit.test=120",
    "tracking.enabled=false", "methods=retrain,ft,iu,salun,qmul,qmul:order=sequential",
)  # fmt: skip

# Texts of a chart, as boxes: of axis titles, of axis labels and of legends.
TEXTS = """plot => [...plot.querySelectorAll("svg text")]
  .filter(text => text.textContent.trim() && getComputedStyle(text).opacity !== "0")
  .map(text => { const box = text.getBoundingClientRect();
    return [text.textContent, box.left, box.top, box.right, box.bottom]; })"""
UNTITLED = """plot => [...plot.querySelectorAll("svg .role-axis")].filter(axis =>
  axis.querySelector(".role-axis-label text") && !axis.querySelector(".role-axis-title text")).length"""
LOOKS = [(width, dark) for width in (WIDE, NARROW) for dark in (False, True)]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures") / "digits"
    settings = [word for setting in SMALL for word in ("--set", setting)]
    assert main(["run", "--recipe", "digits", "--executor", "inline", "--store", str(folder), *settings]) == 0
    return str(folder)


@pytest.fixture(scope="module")
def driver():
    with browser() as started:
        yield started


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = Path(os.environ.get("UNLEARN_GRID_PICTURES") or tmp_path_factory.mktemp("seen"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def watch(shown):
    """What a page complains about or asks the network for."""
    seen = []
    shown.on("console", lambda message: seen.append(message.text))
    shown.on("pageerror", lambda error: seen.append(str(error)))
    shown.on(
        "request", lambda request: None if request.url.startswith("file:") else seen.append(request.url[:80])
    )
    return seen


def overlapping(texts):
    """Pairs of texts whose boxes share more than a pixel."""
    return [
        (one[0], other[0])
        for number, one in enumerate(texts)
        for other in texts[:number]
        if min(one[3], other[3]) - max(one[1], other[1]) > 1
        and min(one[4], other[4]) - max(one[2], other[2]) > 1
    ]


def check(plot):
    """A chart has marks, a title at every axis, and texts inside it that do not touch."""
    name = plot.get_attribute("data-chart")
    assert plot.evaluate("plot => plot.querySelectorAll('svg .mark-symbol path').length") > 0, name
    assert plot.evaluate(UNTITLED) == 0, name
    texts = plot.evaluate(TEXTS)
    assert overlapping(texts) == [], name
    box = plot.bounding_box()
    left, right = box["x"] - 1, box["x"] + box["width"] + 1
    assert [text for text in texts if text[1] < left or text[3] > right] == [], name


@pytest.mark.parametrize(("width", "dark"), LOOKS)
def test_every_chart_is_there_and_can_be_read(store, driver, pictures, width, dark):
    with opened(driver, store, width, dark) as shown:
        seen = watch(shown)
        shown.reload()
        draw_all(shown)
        assert seen == []
        inner, outer = shown.evaluate(
            "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
        )
        assert inner <= outer
        plots = shown.query_selector_all(".plot")
        assert {plot.get_attribute("data-chart") for plot in plots} >= {
            "ag",
            "lr_curves",
            "norms",
            "overview",
        }
        for plot in plots:
            check(plot)
            assert plot.get_attribute("data-drawn") == ("dark" if dark else "light")
        look = f"report-{'wide' if width == WIDE else 'narrow'}-{'dark' if dark else 'light'}.png"
        shown.screenshot(path=pictures / look, full_page=True)
        assert (pictures / look).stat().st_size > 100_000


@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_figures_against_an_option_can_be_read(driver, tmp_path, pictures, width):
    """Made-up figures of three seeds; two options, one on a logarithmic axis, with what was recorded."""
    shares = tuple(f"amnesiac:affected=0.1:fraction={share}" for share in (0.01, 0.05, 0.1, 0.5))
    others = ("amnesiac:affected=0.5:fraction=0.1", "amnesiac:fraction=0.1")
    spec = small_spec(methods=("retrain", "amnesiac:affected=0.1", *shares, *others), seeds=(1, 2, 3))
    fake = Fake(Store(str(tmp_path)), spec)
    fake.fill()
    write_report(fake.store, spec, fake.plan)
    with opened(driver, str(tmp_path), width) as shown:
        plot = shown.query_selector(".plot[data-chart=options]")
        check(plot)
        plot.screenshot(path=pictures / f"options-{width}.png")
        shown.locator(".plot[data-chart=options] .mark-symbol.role-mark path").last.hover(force=True)
        tooltip = shown.locator("#vg-tooltip-element")
        tooltip.wait_for(state="visible")
        assert "null" not in tooltip.inner_text()
        assert all(word in tooltip.inner_text() for word in ("Amnesiac (", "Seeds", "TA, %", "Recorded, MB"))


def test_hovering_over_a_trial_tells_its_run(store, driver):
    with opened(driver, store) as shown:
        plot = shown.locator(".plot[data-chart=tradeoff]").first
        plot.scroll_into_view_if_needed()
        plot.locator(".mark-symbol.role-mark path").last.hover(force=True)
        tooltip = shown.locator("#vg-tooltip-element")
        tooltip.wait_for(state="visible")
        text = tooltip.inner_text()
        keys = {path.stem[:12] for path in (Path(store) / "parts").iterdir()}
        assert any(key in text for key in keys)
        assert all(word in text for word in ("Method", "Seed", "FA, %", "AG, points", "Hyper-parameters"))


def test_a_click_in_the_legend_fades_the_other_methods(store, driver):
    with opened(driver, store) as shown:
        plot = shown.locator(".plot[data-chart=lr_curves]").first
        faint = "plot => plot.querySelectorAll('.role-mark path[opacity=\"0.06\"]').length"
        assert plot.evaluate(faint) == 0
        plot.locator(".role-legend text", has_text="FT").first.click(force=True)
        shown.wait_for_timeout(300)
        assert plot.evaluate(faint) > 0


def test_colours_follow_the_reader(store, driver):
    with opened(driver, store) as shown:
        shown.emulate_media(color_scheme="dark")
        plot = shown.query_selector(".plot")
        shown.wait_for_timeout(1500)
        assert plot.get_attribute("data-drawn") == "dark"
        painted = "plot => getComputedStyle(plot.querySelector('svg')).backgroundColor"
        assert plot.evaluate(painted) == f"rgb{tuple(bytes.fromhex(DARK_CARD[1:]))}"


def test_paper_has_every_chart_in_light(store, driver, pictures):
    with opened(driver, store, dark=True) as shown:
        path = pictures / "report.pdf"
        shown.pdf(path=path)
        assert path.read_bytes().startswith(b"%PDF")
        shown.evaluate("dispatchEvent(new Event('beforeprint'))")
        shown.wait_for_timeout(1500)
        drawn = [plot.get_attribute("data-drawn") for plot in shown.query_selector_all(".plot")]
        assert set(drawn) == {"light"}


def test_without_scripts_the_page_says_where_the_numbers_are(store, driver):
    context = driver.new_context(java_script_enabled=False)
    shown = context.new_page()
    shown.goto((Path(store) / "report" / "index.html").as_uri())
    assert "Charts need JavaScript" in shown.locator("noscript").first.inner_text()
    context.close()


def test_the_readmes_pictures(store, driver, tmp_path):
    made = pictures_by(driver, store, tmp_path)
    assert [path.name for path in made] == ["report-light.png", "report-dark.png"]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in made)
