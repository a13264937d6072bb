"""The shipped cluster files: refused until edited, accepted by Ray's own checks afterwards, and safe."""

import copy
import re
import subprocess
from pathlib import Path

import pytest
import yaml
from botocore.exceptions import InvalidRegionError
from botocore.session import Session
from jsonschema import ValidationError

from orchestrator.cluster_file import MARK

FOLDER = Path(__file__).parents[2] / "clusters"
FILES = [FOLDER / name for name in ("aws.yaml", "gcp.yaml", "onprem.yaml")]
each_file = pytest.mark.parametrize("file", FILES, ids=lambda f: f.name)


def edited(file):
    """The file with every example taken for a value."""
    return yaml.safe_load(file.read_text().replace(MARK, ""))


def checked(config):
    """Ray's own preparation and validation; both are private, hence only here."""
    from ray.autoscaler._private.util import prepare_config, validate_config

    prepared = prepare_config(copy.deepcopy(config))
    validate_config(prepared)
    return prepared


def test_every_file_is_tested():
    assert {f.name for f in FOLDER.glob("*.yaml")} == {f.name for f in FILES} | {"kuberay-rayjob.yaml"}


@pytest.mark.parametrize("file", sorted(FOLDER.glob("*.yaml")), ids=lambda f: f.name)
def test_every_reader_of_yaml_takes_a_file_as_it_is_shipped(file):
    text = file.read_text()
    shipped, whole = yaml.safe_load(text), yaml.safe_load(text.replace(MARK, ""))
    assert shipped.keys() == whole.keys()
    assert shipped != whole


@each_file
def test_a_node_refuses_an_example_for_a_store(file, tmp_path):
    """Commands of the shipped file, in a home of their own: the one that writes the store, and the one after it."""
    for text, code in ((file.read_text(), 1), (file.read_text().replace(MARK, ""), 0)):
        commands = yaml.safe_load(text)["setup_commands"]
        at = next(n for n, command in enumerate(commands) if "UNLEARN_GRID_STORE" in command)
        home = tmp_path / str(code)
        home.mkdir()
        for command, expected in zip(commands[at : at + 2], (0, code), strict=True):
            done = subprocess.run(
                ["bash", "-c", command],
                env={"HOME": str(home), "PATH": "/usr/bin:/bin"},
                capture_output=True,
                text=True,
            )
            assert done.returncode == expected
        assert (MARK in done.stdout) == bool(code)
        assert ("put your value in its place" in done.stderr) == bool(code)


def test_no_region_is_called_like_an_example():
    """Amazon's client refuses it by name before it calls anybody."""
    region = yaml.safe_load((FOLDER / "aws.yaml").read_text())["provider"]["region"]
    with pytest.raises(InvalidRegionError, match=region):
        Session().create_client("ec2", region_name=region, aws_access_key_id="x", aws_secret_access_key="x")


@each_file
def test_ray_reads_the_file_as_it_is_shipped_and_once_it_is_edited(file):
    checked(yaml.safe_load(file.read_text()))
    checked(edited(file))


@each_file
def test_ray_refuses_an_unknown_field(file):
    with pytest.raises(ValidationError, match="max_wrokers"):
        checked(edited(file) | {"max_wrokers": 3})


@each_file
def test_ray_refuses_a_file_without_provider(file):
    config = edited(file)
    del config["provider"]
    with pytest.raises(KeyError, match="provider"):
        checked(config)


@pytest.mark.parametrize("missing", ["node_config", "resources"])
@pytest.mark.parametrize("name", ["aws.yaml", "gcp.yaml"])
def test_ray_refuses_a_kind_of_node_without_what_it_must_have(name, missing):
    config = edited(FOLDER / name)
    del config["available_node_types"]["gpu"][missing]
    with pytest.raises(ValidationError, match=f"'{missing}' is a required property"):
        checked(config)


@each_file
@pytest.mark.parametrize(
    ("field", "value", "why"),
    [
        ("auth", {"ssh_user": 7}, "7 is not of type 'string'"),
        ("idle_timeout_minutes", "ten", "'ten' is not of type 'number'"),
        ("rsync_exclude", ".git", "'.git' is not of type 'array'"),
    ],
)
def test_ray_refuses_a_value_of_the_wrong_type(file, field, value, why):
    with pytest.raises(ValidationError, match=why):
        checked(edited(file) | {field: value})


def test_ray_refuses_hosts_without_addresses(capsys):
    import click

    config = edited(FOLDER / "onprem.yaml")
    del config["provider"]["head_ip"]
    with pytest.raises(click.ClickException):
        checked(config)
    assert "Please supply a `head_ip`" in "".join(capsys.readouterr())


@pytest.mark.parametrize("name", ["aws.yaml", "gcp.yaml"])
def test_ray_refuses_fractions_of_gpus_and_a_head_of_no_known_kind(name):
    config = edited(FOLDER / name)
    config["available_node_types"]["gpu"]["resources"]["GPU"] = 0.5
    with pytest.raises(ValidationError, match="not of type 'integer'"):
        checked(config)
    with pytest.raises(ValueError, match="head_node_type"):
        checked(edited(FOLDER / name) | {"head_node_type": "haed"})


@each_file
def test_the_dashboard_is_on_loopback_behind_a_token_on_every_node(file):
    config = edited(file)
    starts = {name: commands(config, name, "ray start") for name in ("head", "worker")}
    assert all("RAY_AUTH_MODE=token" in command for of_kind in starts.values() for command in of_kind)
    assert all("--dashboard-host=127.0.0.1" in command for command in starts["head"])
    assert [len(of_kind) for of_kind in starts.values()] == [1, 1]
    assert config["file_mounts"]["~/.ray/auth_token"] == "~/.ray/auth_token"
    assert "RAY_AUTH_MODE=token" in " ".join(config["setup_commands"])  # for `ray job` on the head itself


@each_file
def test_workers_are_started_by_the_head(file):
    (start,) = commands(edited(file), "head", "ray start")
    assert "--autoscaling-config=~/ray_bootstrap_config.yaml" in start


def commands(config, kind, word):
    return [command for command in config[f"{kind}_start_ray_commands"] if word in command]


@each_file
def test_a_store_that_all_nodes_share_is_named(file):
    (store,) = re.findall(r"UNLEARN_GRID_STORE=(\S+?)[' ]", " ".join(edited(file)["setup_commands"]))
    scheme = {"aws.yaml": "s3://", "gcp.yaml": "gs://", "onprem.yaml": "/mnt/"}[file.name]
    assert store.startswith(scheme)


@pytest.mark.parametrize("name", ["aws.yaml", "gcp.yaml"])
def test_gpus_are_spot_come_with_demand_and_may_write_to_the_store(name):
    prepared = checked(edited(FOLDER / name))
    kinds = prepared["available_node_types"]
    head, gpu = kinds[prepared["head_node_type"]], kinds["gpu"]
    assert head["resources"]["GPU"] == 0
    assert (gpu["min_workers"], gpu["resources"]["GPU"]) == (0, 1)
    assert 0 < prepared["idle_timeout_minutes"] <= 15
    spot = {"InstanceMarketOptions", "scheduling"} & gpu["node_config"].keys()
    assert "spot" in str([gpu["node_config"][name] for name in spot]).lower()
    # Ray itself gives a role to the head alone
    assert {"IamInstanceProfile", "serviceAccounts"} & gpu["node_config"].keys()
