"""The page in a real browser: what a phone shows first, sorting, and charts where nobody scrolls. Made-up figures."""

import pytest

from orchestrator.report.charts.theme import on_dark
from orchestrator.report.writing import write_report
from orchestrator.spec import colour_of
from tasks.store.store import Store
from tests.browser import browser, needs_browser, page
from tests.orchestrator.fake_results import Fake, small_spec
from tests.pictures.report import NARROW, WIDE

pytestmark = [needs_browser, pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    fake = Fake(Store(str(folder)), small_spec(seeds=(1, 2), methods=("retrain", "ft", "salun", "qmul")))
    fake.fill()
    write_report(fake.store, fake.spec, fake.plan)
    return (folder / "report" / "index.html").as_uri()


@pytest.fixture(scope="module")
def driver():
    with browser() as started:
        yield started


def test_a_phone_shows_the_figures_that_matter_and_that_there_are_more(address, driver):
    with page(driver, NARROW) as shown:
        shown.goto(address)
        assert shown.locator(".hint").first.is_visible()
        cells = shown.locator("table.main thead th").all()
        by_place = sorted((cell.bounding_box()["x"], cell.inner_text().strip()) for cell in cells)
        assert [text for _, text in by_place][:5] == ["Method", "AG", "FA", "TA", "RTE"]
        last = next(cell for cell in cells if cell.inner_text().strip() == "TA").bounding_box()
        assert last["x"] + last["width"] <= NARROW
        row = shown.locator("table.main tbody tr").last
        texts = [row.locator(f".c-{name}") for name in ("ag", "fa", "ta")]
        heads = {cell.inner_text().strip(): cell.bounding_box()["x"] for cell in cells}
        assert [t.bounding_box()["x"] for t in texts] == pytest.approx(
            [heads[n] for n in ("AG", "FA", "TA")], abs=1
        )
    with page(driver, WIDE) as shown:
        shown.goto(address)
        assert not shown.locator(".hint").first.is_visible()


def test_a_click_on_a_heading_sorts_by_it(address, driver):
    with page(driver, WIDE) as shown:
        shown.goto(address)
        ags = "() => [...document.querySelectorAll('table.main tbody .c-ag')].map(c => parseFloat(c.dataset.value))"
        heading = shown.locator("table.main thead th", has_text="AG")
        heading.click()
        assert heading.get_attribute("aria-sort") == "ascending"
        found = shown.evaluate(ags)
        assert found == sorted(found)
        heading.press("Enter")
        assert heading.get_attribute("aria-sort") == "descending"
        assert shown.evaluate(ags) == sorted(found, reverse=True)


@pytest.mark.parametrize("observer", [True, False])
def test_charts_are_drawn_where_nobody_scrolls(address, driver, observer):
    with page(driver, WIDE, height=200) as shown:
        if not observer:
            shown.add_init_script("delete window.IntersectionObserver")
        shown.goto(address)
        count = shown.locator(".plot").count()
        assert count > 3
        # the page's own policy forbids text that becomes code, which waiting for a function is
        shown.locator(".plot[data-drawn]").nth(count - 1).wait_for(state="attached")
        assert shown.locator(".plot[data-drawn]").count() == count


def test_the_dark_page_draws_in_its_own_colours(address, driver):
    with page(driver, WIDE, dark=True) as shown:
        shown.goto(address)
        plot = shown.locator(".plot[data-chart=ag]")
        plot.locator("svg.marks").wait_for()
        drawn = plot.inner_html()
        assert on_dark(colour_of("qmul")) in drawn
        assert colour_of("qmul") not in drawn
