"""Real Ray workers beside one another on make-believe GPUs, as many as the memory that rows report allows."""

from collections import defaultdict
from itertools import pairwise

import pytest

from orchestrator.plan.costs.memory import memory_class
from orchestrator.plan.grid_plan import make_plan
from orchestrator.spec.overrides import with_overrides
from tasks.node import TRAINING
from tests.chaos.cluster_faults import ClusterScene
from tests.chaos.drivers import Drivers
from tests.chaos.stub import MEMORY, OOM

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(600)]

SETTINGS = ("datasets=cifar10", "archs=resnet18", "search.trials=8", "keep=all", "resources.trials_per_gpu=3")
GIB = 2**30


@pytest.fixture(scope="module")
def scene(tmp_path_factory, private_surroundings):
    """A finished grid of 24 trials on two machines, the first six in a run of their own; GA's need a whole GPU."""
    folder = tmp_path_factory.mktemp("packing")
    options = [word for setting in SETTINGS for word in ("--set", setting)]
    with Drivers(folder, {}) as drivers:
        scene = ClusterScene(drivers, folder, options)
        first, scene.plan = plan(scene, *SETTINGS, "search.trials=2"), plan(scene, *SETTINGS)
        with scene.cluster([1, 1], seconds="2", **{MEMORY: str(24 * GIB), OOM: "beside"}) as cluster:
            scene.join(cluster)
            for more in (("--set", "search.trials=2"), ()):
                driver = scene.start(*more)
                assert driver.wait() == 0, driver.errors[-3000:]
        scene.plan.nodes.update(first.nodes)
        assert scene.store.finished() == scene.plan.nodes.keys()
    return scene


def plan(scene, *settings):
    """The nodes of the scene's grid with these settings."""
    return make_plan(with_overrides(scene.spec.model_dump(mode="json"), list(settings)))


def spans(scene):
    """For every GPU the training nodes that came to their end there: start, end, key, share or whole."""
    starts, found = defaultdict(list), defaultdict(list)
    for line in scene.log.read_text().splitlines():
        event, key, _, gpu, time = line.split()
        if scene.plan.nodes[key].kind in TRAINING:
            if event == "start":
                starts[key].append(float(time))
            else:
                found[gpu].append((starts[key][-1], float(time), key, event))
    return found


def test_at_most_three_share_a_gpu_and_only_what_was_measured(scene):
    by_gpu = spans(scene)
    assert len(by_gpu) == 2
    ends = [(end, memory_class(scene.plan.nodes[key])) for all_ in by_gpu.values() for _, end, key, _ in all_]
    most = 0
    for gpu, all_ in by_gpu.items():
        for start, _, key, share in all_:
            company = [k for s, e, k, _ in all_ if s <= start < e]
            most = max(most, len(company))
            assert share == "share" or company == [key], gpu
            known = any(end < start and kind == memory_class(scene.plan.nodes[key]) for end, kind in ends)
            assert share == "whole" or known
    assert most == 3


def test_what_ran_out_of_memory_ran_again_alone_and_taught_its_class(scene):
    starts = [fields[1] for fields in scene.events("start")]
    twice = {key for key in starts if starts.count(key) == 2}
    assert 1 <= len(twice) <= 6  # those that were at work when the first one failed
    assert {scene.plan.nodes[key].inputs["method"] for key in twice} == {"ga"}
    ga = {key for key, n in scene.plan.nodes.items() if n.kind == "trial" and n.inputs["method"] == "ga"}
    for all_ in spans(scene).values():
        ordered = sorted(all_)
        for before, after in pairwise(ordered):
            if after[2] in ga:
                assert after[3] == "whole"
                assert before[1] <= after[0]
    rows = scene.store.manifests(sorted(ga), broken={})
    assert {manifest.record.peak_memory for manifest in rows.values()} == {4 * GIB}
