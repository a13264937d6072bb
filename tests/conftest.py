"""What every test shares: a private home, no cluster from the environment, and a grid of seconds."""

import logging
import os
from pathlib import Path

import pytest

from orchestrator import grid
from orchestrator.spec.specification import GridSpec
from tests.one_problem import digits


@pytest.fixture(autouse=True, scope="session")
def private_surroundings(tmp_path_factory):
    """No test reads or writes the user's home, caches, stores or clusters."""
    home = tmp_path_factory.mktemp("home")
    patch = pytest.MonkeyPatch()
    patch.setenv("HOME", str(home))
    patch.setenv("XDG_CACHE_HOME", str(home / "cache"))
    patch.setenv("RAY_AUTH_MODE", "disabled")
    patch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    for name in ("RAY_ADDRESS", "UNLEARN_GRID_STORE", "UNLEARN_GRID_DATA", "MLFLOW_TRACKING_URI"):
        patch.delenv(name, raising=False)
    # a plan would train for seconds; test_this_machine.py does
    patch.setattr("orchestrator.plan.costs.this_machine._measure", lambda training: None)
    # worker processes import the packages from this checkout
    patch.setenv("PYTHONPATH", os.pathsep.join([str(Path.cwd()), os.environ.get("PYTHONPATH", "")]))
    yield
    patch.undo()


@pytest.fixture
def tiny(tiny_module) -> GridSpec:
    """Three methods on 120 digits: every kind of node in a few seconds."""
    return tiny_module


@pytest.fixture(scope="session")
def tiny_module() -> GridSpec:
    """The same, for fixtures that outlive a test."""
    values = digits().model_dump(mode="json") | {
        "methods": ("retrain", "ft", "ga", "qmul"),
        "original": {"epochs": 2, "batch_size": 32},
        "retrain": {"epochs": 2},
        "params": {name: {"epochs": 1, "batch_size": 32} for name in ("ft", "ga", "qmul")},
        "data": {"limit": {"train": 120, "test": 60}},
        "search": {"trials": 2},
        "tracking": {"enabled": False},
    }
    return GridSpec.model_validate(values)


@pytest.fixture(scope="session")
def finished_store(tiny_module, tmp_path_factory) -> Path:
    """That grid, run once in this process, for tests that look at a real store; they leave it as it is."""
    folder = tmp_path_factory.mktemp("finished")
    spec = folder / "tiny.json"
    spec.write_text(tiny_module.model_dump_json())
    store = folder / "store"
    assert (
        grid.main(["run", "--spec", str(spec), "--executor", "inline", "--store", str(store), "--json"]) == 0
    )
    return store


@pytest.fixture(scope="session")
def ray_cluster(private_surroundings):
    """A private Ray of two CPUs in this process, for all tests that need one."""
    import ray

    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    yield ray
    ray.shutdown()


@pytest.fixture(scope="session")
def s3_address(private_surroundings):
    """Where an S3 of this process listens, on loopback; the environment leads s3:// there."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    patch = pytest.MonkeyPatch()
    patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    patch.setenv("AWS_ACCESS_KEY_ID", "loopback")
    patch.setenv("AWS_SECRET_ACCESS_KEY", "not-a-secret-of-anyone")
    patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    yield f"http://{host}:{port}"
    patch.undo()
    server.stop()


@pytest.fixture
def s3_bucket(s3_address, request):
    """An empty bucket of the test's own, as a URI."""
    import fsspec

    fsspec.filesystem("s3").clear_instance_cache()
    name = f"bucket-{abs(hash(request.node.nodeid)):x}"
    fsspec.filesystem("s3").mkdir(name)
    return f"s3://{name}"
