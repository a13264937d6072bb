"""The MLflow UI with the paper's whole grid in it, 1,560 runs: its table shows, and a filter answers."""

import time

import pytest

from orchestrator.spec import recipes
from orchestrator.tracking.mirror import Mirror, tracking_uri
from tasks.store.store import Store
from tests.browser import browser, needs_browser
from tests.orchestrator.fake_results import Fake
from tests.pictures.mlflow import folder, picture, served, visit

pytest.importorskip("mlflow", reason="mlflow is not installed")
pytestmark = [pytest.mark.slow, needs_browser, pytest.mark.timeout(1200)]


@pytest.fixture(scope="module")
def fake(private_surroundings, tmp_path_factory):
    """A row for each node of the paper's grid, eight trials in each cell, and all of it in MLflow."""
    made = Fake(Store(str(tmp_path_factory.mktemp("full") / "grid")), recipes.full())
    made.fill()
    made.store.put("spec.json", made.spec.model_dump_json().encode())
    mirror = Mirror(tracking_uri(made.spec, made.store), made.store, made.spec, made.plan)
    began = time.monotonic()
    assert mirror.sync() == 1560
    print(f"1,560 runs into SQLite in {time.monotonic() - began:.0f} s")
    mirror.close()
    return made


def test_the_table_shows_and_a_filter_answers(fake, tmp_path):
    chosen = [row for row in fake.rows.values() if row.kind == "select" and row.method == "qmul"]
    query = "tags.method = 'qmul' and tags.selected = 'true'"
    with served(fake.store.uri) as pages, browser() as opened:
        began = time.monotonic()
        with visit(opened, pages["cells"], "matching runs") as shown:
            shown.locator(".ag-pinned-left-cols-container .ag-row").first.wait_for()
            print(f"table after {time.monotonic() - began:.1f} s")
            shown.get_by_text("100 matching runs").first.wait_for()  # a page; the next comes with scrolling
            began = time.monotonic()
            box = shown.get_by_role("combobox").or_(shown.get_by_placeholder("metrics.rmse")).first
            box.fill(query)
            box.press("Enter")
            shown.get_by_text(f"{len(chosen)} matching runs").first.wait_for()
            print(f"filter after {time.monotonic() - began:.1f} s")
            picture(shown, folder(tmp_path) / "mlflow_full.png")
    assert len(chosen) == 24
