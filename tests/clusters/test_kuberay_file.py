"""clusters/kuberay-rayjob.yaml: the structure that KubeRay's RayJob asks for, and what the file promises.

KubeRay's schema is not part of this repository. With KUBERAY_CRD=ray.io_rayjobs.yaml, from the operator's
release, the file is also checked against it, unknown fields refused.
"""

import copy
import os
from pathlib import Path

import pytest
import yaml

from orchestrator.cluster_file import MARK

FILE = Path(__file__).parents[2] / "clusters" / "kuberay-rayjob.yaml"


@pytest.fixture
def job():
    return yaml.safe_load(FILE.read_text().replace(MARK, ""))


@pytest.fixture
def cluster(job):
    return job["spec"]["rayClusterSpec"]


def pods(cluster):
    """Pod templates of the head and of every group of workers."""
    return [group["template"]["spec"] for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"])]


def test_it_is_a_rayjob_of_the_grid(job):
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    assert job["spec"]["entrypoint"].startswith("python -m orchestrator.grid")


def test_the_cluster_goes_with_the_job_and_a_lost_head_is_replaced(job):
    spec = job["spec"]
    assert spec["shutdownAfterJobFinishes"] is True
    assert isinstance(spec["ttlSecondsAfterFinished"], int)
    assert 1 <= spec["backoffLimit"] <= 5


def test_ray_is_the_release_of_this_environment(cluster):
    import ray

    assert cluster["rayVersion"].split(".")[:2] == ray.__version__.split(".")[:2]


def test_token_authentication_is_on_and_nothing_is_exposed(cluster):
    assert cluster["authOptions"] == {"mode": "token"}
    head = cluster["headGroupSpec"]
    assert head["serviceType"] == "ClusterIP"
    assert not head.get("enableIngress")
    assert not any(pod.get("hostNetwork") for pod in pods(cluster))


def test_gpu_workers_are_spot_and_come_with_demand(cluster):
    assert cluster["enableInTreeAutoscaling"] is True
    assert 0 < cluster["autoscalerOptions"]["idleTimeoutSeconds"] <= 900
    (group,) = cluster["workerGroupSpecs"]
    assert (group["minReplicas"], group["replicas"]) == (0, 0)
    pod = group["template"]["spec"]
    assert {t["key"] for t in pod["tolerations"]} == {"nvidia.com/gpu", *pod["nodeSelector"]}
    assert pod["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "1"


def test_the_head_has_no_gpu(cluster):
    (container,) = pods(cluster)[0]["containers"]
    assert "nvidia.com/gpu" not in container["resources"]["limits"]


def test_requests_are_limits_as_ray_counts_on_what_a_pod_has(cluster):
    for pod in pods(cluster):
        (container,) = pod["containers"]
        assert container["resources"]["requests"] == container["resources"]["limits"]


def test_every_pod_mounts_the_store_where_the_environment_says(cluster):
    for pod in pods(cluster):
        (container,) = pod["containers"]
        values = {v["name"]: v["value"] for v in container["env"]}
        mounted = {m["mountPath"]: m["name"] for m in container["volumeMounts"]}
        volume = mounted[str(Path(values["UNLEARN_GRID_STORE"]).parent)]
        assert [v["name"] for v in pod["volumes"] if "persistentVolumeClaim" in v] == [volume]


def test_environment_values_are_text_as_kubernetes_demands(cluster):
    values = [v["value"] for pod in pods(cluster) for c in pod["containers"] for v in c["env"]]
    assert all(isinstance(value, str) for value in values)


@pytest.mark.skipif("KUBERAY_CRD" not in os.environ, reason="KUBERAY_CRD names no schema of KubeRay")
def test_kuberays_own_schema_accepts_it(job):
    import jsonschema

    definition = yaml.load(Path(os.environ["KUBERAY_CRD"]).read_text(), Loader=yaml.CSafeLoader)
    (version,) = (v for v in definition["spec"]["versions"] if v["name"] == "v1")
    schema = strict(version["schema"]["openAPIV3Schema"])
    schema["properties"]["metadata"] = {"type": "object"}
    jsonschema.validate(job, schema)
    for path, value in {
        ("backofLimit",): 3,
        ("rayClusterSpec", "authOptions", "mode"): "tokn",
        ("rayClusterSpec", "workerGroupSpecs", 0, "minReplicas"): "0",
    }.items():
        wrong = copy.deepcopy(job)
        inner = wrong["spec"]
        for step in path[:-1]:
            inner = inner[step]
        inner[path[-1]] = value
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(wrong, schema)


def strict(schema):
    """A Kubernetes schema as plain JSON schema that allows the named fields alone."""
    if isinstance(schema, list):
        return [strict(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("x-kubernetes-int-or-string"):
        return {"type": ["integer", "string"]}
    closed = "properties" in schema and not schema.get("x-kubernetes-preserve-unknown-fields")
    parts = {name: strict(part) for name, part in schema.items()}
    return {"additionalProperties": False} | parts if closed and schema.get("type") == "object" else parts
