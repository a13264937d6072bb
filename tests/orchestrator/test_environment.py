"""Which machines a cluster may still start."""

import pytest
import yaml

from core.errors import BadInput
from orchestrator.environment import machines_to_come
from tasks.executors.resources import Group

CLUSTER = {
    "max_workers": 6,
    "head_node_type": "head",
    "available_node_types": {
        "head": {"resources": {"CPU": 4}, "max_workers": 0},
        "gpu": {"resources": {"CPU": 8, "GPU": 4, "spot": 1}, "max_workers": 8},
        "cpu": {"resources": {"CPU": 16}},
    },
}


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("UNLEARN_GRID_MACHINES", raising=False)
    return tmp_path


def test_nothing_is_to_come_where_nothing_says_so():
    assert machines_to_come() == ()


def test_the_cluster_file_of_the_head_says_what_may_come(home):
    (home / "ray_bootstrap_config.yaml").write_text(yaml.safe_dump(CLUSTER, sort_keys=False))
    assert machines_to_come() == (Group({"CPU": 8.0, "GPU": 4.0}, 6), Group({"CPU": 16.0}, 6))


@pytest.mark.parametrize("text", ["", "[]", "a: [", "available_node_types: 3"])
def test_a_cluster_file_that_makes_no_sense_is_ray_s_business(home, text):
    (home / "ray_bootstrap_config.yaml").write_text(text)
    assert machines_to_come() == ()


def test_the_environment_comes_first(home, monkeypatch):
    (home / "ray_bootstrap_config.yaml").write_text(yaml.safe_dump(CLUSTER, sort_keys=False))
    monkeypatch.setenv("UNLEARN_GRID_MACHINES", "3x8")
    assert machines_to_come() == (Group({"CPU": 1.0, "GPU": 8.0}, 3),)
    monkeypatch.setenv("UNLEARN_GRID_MACHINES", "three")
    with pytest.raises(BadInput, match="such as 3x8"):
        machines_to_come()
