"""Pictures of the report as people see it: light and dark, wide and narrow, and on paper."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Page

from tests.browser import browser, page

WIDE, NARROW = 1300, 390
HEIGHT = 1500  # pixels of the README's picture


@contextmanager
def opened(driver: Browser, store: str, width: int = WIDE, dark: bool = False) -> Iterator[Page]:
    """The report of a store in a folder, with every chart drawn."""
    with page(driver, width, dark=dark) as shown:
        shown.goto((Path(store).resolve() / "report" / "index.html").as_uri())
        draw_all(shown)
        yield shown


def draw_all(shown: Page, seconds: float = 60) -> None:
    """Goes to every chart and waits until it is there; AssertionError if one does not come."""
    end = time.monotonic() + seconds
    for plot in shown.query_selector_all(".plot"):
        plot.scroll_into_view_if_needed()
        while not plot.get_attribute("data-drawn"):
            assert time.monotonic() < end, f"{plot.get_attribute('data-chart')} was not drawn"
            time.sleep(0.02)
    shown.evaluate("scrollTo(0, 0)")


def report_pictures(store: str, folder: Path) -> list[Path]:
    """The README's pictures of a store's report: its first table with charts, light and dark."""
    with browser() as driver:
        return pictures_by(driver, store, folder)


def pictures_by(driver: Browser, store: str, folder: Path) -> list[Path]:
    """The same with a browser that is open already."""
    folder.mkdir(parents=True, exist_ok=True)
    made = []
    for name, dark in (("report-light", False), ("report-dark", True)):
        with opened(driver, store, dark=dark) as shown:
            top = shown.locator("article").first.bounding_box()
            assert top is not None
            path = folder / f"{name}.png"
            clip = {"x": 0, "y": top["y"] - 20, "width": WIDE, "height": HEIGHT}
            shown.screenshot(path=path, full_page=True, clip=clip)
            made.append(path)
    return made
