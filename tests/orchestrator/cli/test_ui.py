"""The verb `ui` up to its server: ports, what there is to show, and which pages."""

import json
import socket

import pytest

from core.errors import BadInput
from orchestrator import grid
from orchestrator.cli import ui
from orchestrator.tracking.mirror import Mirror, tracking_uri
from tasks.store.store import Store
from tests.orchestrator.fake_results import Fake, small_spec

pytest.importorskip("mlflow", reason="mlflow is not installed")
pytestmark = pytest.mark.filterwarnings("ignore:.*noload.*")


@pytest.fixture
def taken():
    """A port that something listens on."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield listening.getsockname()[1]


def filled(folder, **changes):
    """A store whose grid is in its MLflow."""
    fake = Fake(Store(str(folder)), small_spec(**changes))
    fake.fill()
    fake.store.put("spec.json", fake.spec.model_dump_json().encode())
    return fake


@pytest.fixture(scope="module")
def mirrored(private_surroundings, tmp_path_factory):
    """Two problems of four methods, in MLflow; once, because making a database takes seconds."""
    fake = filled(tmp_path_factory.mktemp("mirrored") / "grid", ratios=(0.1, 0.3))
    mirror = Mirror(tracking_uri(fake.spec, fake.store), fake.store, fake.spec, fake.plan)
    mirror.sync()
    mirror.close()
    assert mirror.warning is None
    return fake


def error_of(capsys, *arguments):
    assert grid.main(["ui", *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


def test_a_port_in_use_is_a_sentence_with_a_free_one(tmp_path, capsys, taken):
    filled(tmp_path / "grid")
    line = error_of(capsys, "--store", str(tmp_path / "grid"), "--port", str(taken))
    assert f"port {taken} is in use" in line
    free = int(line.partition("--port ")[2].split()[0])
    assert ui.free_port(free) == free


def test_without_a_wish_the_next_free_port_is_taken(monkeypatch, taken):
    monkeypatch.setattr(ui, "_PORT", taken)
    found = ui.free_port(None)
    assert taken < found < taken + 200


@pytest.mark.parametrize("port", [0, -1, 70_000])
def test_what_is_no_port_is_bad_input(port):
    with pytest.raises(BadInput, match="1 to 65535"):
        ui.free_port(port)


def test_a_store_that_was_never_mirrored_says_how_to(tmp_path, capsys):
    store = str(tmp_path / "grid")
    filled(store, tracking={"enabled": False})
    line = error_of(capsys, "--store", store)
    assert "tracking.enabled=false" in line
    assert f"sync --store {store}" in line


def test_an_experiment_that_is_not_there_says_so(mirrored, tmp_path, capsys):
    uri = tracking_uri(mirrored.spec, mirrored.store)
    filled(tmp_path / "grid", recipe="another", tracking={"uri": uri})
    assert "no finished cells" in error_of(capsys, "--store", str(tmp_path / "grid"))


def test_a_folder_without_a_grid_is_one_line(tmp_path, capsys):
    assert "no grid in" in error_of(capsys, "--store", str(tmp_path))


def test_the_pages_are_of_the_experiment_and_compare_one_problem(mirrored):
    fake, uri = mirrored, tracking_uri(mirrored.spec, mirrored.store)
    pages = ui._pages(uri, fake.spec, fake.store, "http://127.0.0.1:5000")
    assert pages.keys() == {"cells", "charts", "compare"}
    assert all(address.startswith("http://127.0.0.1:5000/#/") for address in pages.values())
    from mlflow.tracking import MlflowClient

    assert pages["compare"].partition("?")[2].startswith("runs=")  # MLflow finds none behind another word
    assert all("workflowType=machine_learning" in address for address in pages.values())
    chosen = json.loads(value_of(pages["compare"], "runs"))
    tags = [MlflowClient(uri).get_run(run).data.tags for run in chosen]
    assert [found["method"] for found in tags] == list(fake.spec.methods)
    assert {found["amount"] for found in tags} == {"0.1"}
    assert {found["kind"] for found in tags} == {"cell"}


def value_of(address, name):
    """A value of an address's query."""
    from urllib.parse import parse_qs

    (value,) = parse_qs(address.partition("?")[2])[name]
    return value
