"""What every test shares: a private home, no cluster from the environment, and a grid of seconds."""

import os
from pathlib import Path

import pytest

from orchestrator.recipes import digits
from orchestrator.spec import GridSpec


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
def ray_cluster(private_surroundings):
    """A private Ray of two CPUs in this process, for all tests that need one."""
    import ray

    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    yield ray
    ray.shutdown()
