"""The MLflow UI of a store, served by the command line and looked at through a real browser."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Page

from tests.browser import browser, page

WAIT = 60_000  # ms: a busy machine takes its time for a first page
# As a user's browser is after the first visit, when the assistant's panel was closed.
_CLOSED = """
localStorage.setItem('mlflow.assistant.fab.autoOpenedOnFirstLoad_v1', 'true');
localStorage.setItem('mlflow.assistant.panelOpen_v1', 'false');
"""


@contextmanager
def served(store: str, *arguments: str) -> Iterator[dict[str, str]]:
    """The addresses that `ui --json` prints, while its server runs."""
    command = [sys.executable, "-m", "orchestrator.grid", "ui", "--store", store, "--json", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert process.stdout is not None
    try:
        text = ""
        while not text.endswith("}\n"):
            line = process.stdout.readline()
            if not line:
                raise RuntimeError(f"ui ended with {process.wait()} after {text!r}")
            text += line
        yield json.loads(text)
    finally:
        process.terminate()
        process.wait(60)
        process.stdout.close()


@contextmanager
def visit(
    opened: Browser, address: str, awaited: str, width: int = 1400, height: int = 900
) -> Iterator[Page]:
    """A page of the UI, once a text stands on it."""
    with page(opened, width, height) as shown:
        shown.add_init_script(_CLOSED)
        shown.set_default_timeout(WAIT)
        shown.goto(address)
        shown.get_by_text(awaited).first.wait_for()
        yield shown


def picture(shown: Page, file: Path) -> Path:
    """Takes a picture once charts have drawn themselves. (The UI asks again and again: it is never idle.)"""
    shown.wait_for_timeout(2000)
    shown.screenshot(path=str(file))
    return file


def fold(shown: Page) -> None:
    """Closes the sections of the compare page that are above its metrics, but for the runs' names."""
    for title in ("Visualizations", "Parameters"):
        shown.get_by_role("button", name=title, exact=True).first.click()


def folder(otherwise: Path) -> Path:
    """Where tests leave pictures: $UNLEARN_GRID_PICTURES, else the given folder."""
    found = Path(os.environ.get("UNLEARN_GRID_PICTURES", otherwise))
    found.mkdir(parents=True, exist_ok=True)
    return found


def mlflow_pictures(store: str, folder: Path) -> list[Path]:
    """Pictures of a grid's cells, of its trials as charts, and of its methods side by side, in light colours."""
    folder.mkdir(parents=True, exist_ok=True)
    made = []
    with served(store) as pages, browser() as opened:
        for name, awaited in (("cells", "matching runs"), ("charts", "lr vs. ag"), ("compare", "Run Name:")):
            with visit(opened, pages[name], awaited) as shown:
                if name == "compare":
                    fold(shown)
                made.append(picture(shown, folder / f"mlflow_{name}.png"))
    return made
