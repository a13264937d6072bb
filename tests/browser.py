"""A real browser for tests and pictures: Chromium, headless, without network beyond this machine."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_ARGUMENTS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--force-color-profile=srgb",
)  # fmt: skip


def program() -> str | None:
    """Where a Chromium lies; None if there is none."""
    return next((path for name in BROWSERS if (path := shutil.which(name))), None)


needs_browser = pytest.mark.skipif(program() is None, reason="no Chromium on this machine")


@contextmanager
def browser() -> Iterator[Browser]:
    """A headless browser with an empty profile."""
    with sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=program(), args=list(_ARGUMENTS))
        try:
            yield opened
        finally:
            opened.close()


@contextmanager
def page(opened: Browser, width: int = 1300, height: int = 900, dark: bool = False) -> Iterator[Page]:
    """A page of a size in pixels, in light or dark."""
    context = opened.new_context(
        viewport={"width": width, "height": height}, color_scheme="dark" if dark else "light"
    )
    try:
        yield context.new_page()
    finally:
        context.close()
