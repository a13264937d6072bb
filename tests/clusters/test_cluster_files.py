"""Every cluster file passes the checks that `ray up` makes before it touches a machine."""

import copy
from pathlib import Path

import pytest
import yaml

FILES = sorted(Path(__file__).parents[2].joinpath("clusters").glob("*.yaml"))


def checked(config):
    """Ray's own preparation and validation; both are private, hence only here."""
    from ray.autoscaler._private.util import prepare_config, validate_config

    validate_config(prepare_config(copy.deepcopy(config)))


@pytest.mark.parametrize("file", FILES, ids=lambda f: f.name)
def test_ray_accepts_the_file(file):
    checked(yaml.safe_load(file.read_text()))


@pytest.mark.parametrize("file", FILES, ids=lambda f: f.name)
def test_an_unknown_key_is_refused(file):
    with pytest.raises(Exception, match="max_wrokers"):
        checked(yaml.safe_load(file.read_text()) | {"max_wrokers": 3})


@pytest.mark.parametrize("file", FILES, ids=lambda f: f.name)
def test_the_dashboard_is_on_loopback_behind_a_token(file):
    config = yaml.safe_load(file.read_text())
    starts = [c for c in config["head_start_ray_commands"] if "--head" in c]
    assert all("--dashboard-host=127.0.0.1" in c and "RAY_AUTH_MODE=token" in c for c in starts)
    assert "~/.ray/auth_token" in config["file_mounts"]


def test_there_are_cluster_files():
    assert {"aws.yaml", "onprem.yaml"} <= {file.name for file in FILES}
