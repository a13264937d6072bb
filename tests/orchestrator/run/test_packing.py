"""Trials that share a GPU: as many as the measured memory allows, and none before it is measured."""

import math
import sys
from collections import defaultdict
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from rich.console import Console

from core.errors import BadInput
from orchestrator.cli.estimate import cost_model
from orchestrator.plan.costs.estimate import CostModel
from orchestrator.plan.costs.memory import MemoryModel, memory_class
from orchestrator.plan.costs.paces import pace_of
from orchestrator.plan.frontier import Frontier
from orchestrator.plan.grid_plan import make_plan
from orchestrator.run.driver import Driver
from orchestrator.run.outcomes import Clock
from orchestrator.run.progress import Progress
from orchestrator.spec.overrides import grid_spec
from orchestrator.spec.specification import GridSpec
from tasks.executors import packing
from tasks.executors.on_ray import RayExecutor
from tasks.job import Job, Outcome, Place
from tasks.node import TRAINING
from tasks.nodes import dispatch
from tasks.nodes.result import Result
from tasks.record import Record
from tasks.store.store import Store
from tests.chaos import grids
from tests.orchestrator.fake_ray import FakeRay, RayError

GIB = 2**30
CONTEXT = GIB / 2


@pytest.fixture(scope="module")
def spec() -> GridSpec:
    """12 trials and 3 retrains of every class; nothing is dropped, because nothing is stored."""
    values = grids.small().model_dump() | {"keep": "all", "ratios": (0.1, 0.3, 0.5), "search": {"trials": 4}}
    return GridSpec.model_validate(values)


@pytest.fixture(scope="module")
def plan(spec):
    return make_plan(spec)


class TestClasses:
    def test_seeds_forget_sets_and_rates_are_one_class_and_batch_sizes_are_not(self, plan):
        node = next(n for n in plan.nodes.values() if n.kind == "trial" and n.inputs["method"] == "ft")
        twins = [
            {"seed": 2, "amount": 0.5},
            {"params": node.inputs["params"] | {"lr": 1e-3, "epochs": 77}, "tried": "lr 0.001"},
            {"scenario": "class", "amount": 3},
        ]
        others = [
            {"params": node.inputs["params"] | {"batch_size": 7}},
            {"method": "salun"},
            {"quant": "8w8a"},
            {"width": 0.123},
            {"limit": {"train": 500, "test": 100}},
        ]
        own = memory_class(node)
        assert {memory_class(replace(node, inputs=node.inputs | change)) for change in twins} == {own}
        assert own not in {memory_class(replace(node, inputs=node.inputs | change)) for change in others}

    def test_a_class_for_every_kind_and_method_of_an_affinity(self, plan):
        training = [n for n in plan.nodes.values() if n.kind in TRAINING]
        kinds = {(n.affinity, n.kind, n.inputs["method"]) for n in training}
        assert len({memory_class(n) for n in training}) == len(kinds)

    def test_the_largest_of_a_class_is_expected_and_what_overflowed_never_again(self, plan):
        first, second = [n for n in plan.nodes.values() if n.kind == "trial" and n.inputs["method"] == "ft"][
            :2
        ]
        other = next(n for n in plan.nodes.values() if n.kind == "original")
        model = MemoryModel()
        model.observe(first, None)
        assert model.expected(second) == math.inf
        for peak in (GIB, 3 * GIB, 2 * GIB):
            model.observe(first, peak)
        assert model.expected(second) == 3 * GIB
        assert model.expected(other) == math.inf
        model.overflowed(second)
        model.observe(first, GIB)
        assert model.expected(first) == math.inf


class TestArithmetic:
    def test_nodes_fit_with_their_margins_and_processes(self):
        total = 24 * GIB
        assert packing.room(total, []) == math.inf
        room = packing.room(total, [4 * GIB, 4 * GIB])
        assert packing.demand(4 * GIB) * 2 + packing.demand(room) == pytest.approx(total)
        assert packing.demand(room) > room + CONTEXT

    def test_nothing_fits_beside_a_node_or_on_a_gpu_that_nobody_knows(self):
        assert packing.room(24 * GIB, [math.inf]) == -math.inf
        assert packing.room(0, [GIB]) < 0

    def test_a_share_is_never_more_than_the_gpu(self):
        assert (
            packing.share(24 * GIB, math.inf) == packing.share(0, GIB) == packing.share(GIB, 2 * GIB) == 1.0
        )
        assert GIB < packing.share(24 * GIB, GIB) * 24 * GIB < 1.5 * GIB


def test_gpus_are_shared_in_one_way_only():
    with pytest.raises(BadInput, match=r"trials_per_gpu=4 contradicts gpus_per_slot=0.5"):
        grid_spec("full", None, ["resources.trials_per_gpu=4", "resources.gpus_per_slot=0.5"])
    assert grid_spec("full", None, ["resources.trials_per_gpu=4"]).resources.trials_per_gpu == 4


def test_a_shorter_node_takes_a_longer_one_s_place_only_where_it_may(plan):
    cost = {key: {"original": 10.0, "retrain": 20.0}.get(n.kind, 1.0) for key, n in plan.nodes.items()}
    front = Frontier(plan, cost, [k for k, n in plan.nodes.items() if n.kind == "data"])
    small = lambda node: node.kind != "retrain"  # noqa: E731
    assert front.next_training(None, math.inf, small) is None
    assert front.next_training(None, math.inf, small, overtake=True).kind == "original"
    assert front.next_training(None, math.inf).kind == "retrain"
    assert front.next_training(None, math.inf, lambda _: False, overtake=True) is None
    assert front.ready_training() == 4 + 12 - 1 - 1


class TestMeasuring:
    """What a node on a GPU leaves in its row, with a make-believe GPU."""

    @pytest.fixture
    def gpu(self, monkeypatch):
        said = []
        for name, answer in {
            "set_per_process_memory_fraction": None,
            "empty_cache": None,
            "reset_peak_memory_stats": None,
            "max_memory_reserved": 5 * GIB,
        }.items():

            def say(*values, name=name, answer=answer):
                said.append((name, *values))
                return answer

            monkeypatch.setattr(torch.cuda, name, say)
        monkeypatch.setattr(dispatch.warm, "device_of", lambda _place: torch.device("cuda"))
        for kind in dispatch._FUNCTIONS:
            monkeypatch.setitem(dispatch._FUNCTIONS, kind, lambda *_: Result({}, {}, {}))
        return said

    def test_a_training_node_is_held_to_its_share_and_measured(self, gpu, plan, tmp_path):
        node = next(n for n in plan.nodes.values() if n.kind == "original")
        record = dispatch.run_node(Job(node, Place(str(tmp_path), gpu_share=0.25)))
        assert (record.peak_memory, record.gpu_share) == (5 * GIB, 0.25)
        assert [name for name, *_ in gpu] == [
            "set_per_process_memory_fraction",
            "empty_cache",
            "reset_peak_memory_stats",
            "max_memory_reserved",
        ]
        assert gpu[0] == ("set_per_process_memory_fraction", 0.25)
        row = Store(str(tmp_path)).manifest(node.key).record
        assert (row.peak_memory, row.gpu_share) == (5 * GIB, 0.25)

    def test_other_nodes_leave_the_gpu_alone(self, gpu, plan, tmp_path):
        node = next(n for n in plan.nodes.values() if n.kind == "data")
        record = dispatch.run_node(Job(node, Place(str(tmp_path))))
        assert (record.peak_memory, record.gpu_share, gpu) == (None, None, [])

    def test_stored_rows_are_expected_again(self, gpu, spec, plan, tmp_path):
        node = next(n for n in plan.nodes.values() if n.kind == "original")
        dispatch.run_node(Job(node, Place(str(tmp_path))))
        cost = cost_model(spec, plan, Store(str(tmp_path)), {node.key})
        assert cost.memory.expected(node) == 5 * GIB


class Grid:
    """The stub grid on machines of one make-believe GPU of 24 GiB, by the real driver and executor."""

    def __init__(self, spec, plan, folder, monkeypatch, machines=2, trials=4):
        self.spec, self.plan, self.folder, self.patch = spec, plan, folder, monkeypatch
        self.machines, self.trials = machines, trials
        self.cost = CostModel(pace_of("cuda"))

    def peak(self, node):
        """GiB that a node needs; None: its row does not say."""
        return {"original": 6.0, "retrain": 6.0}.get(node.kind, 2.0)

    def world(self, job):
        """A node's seconds, and its outcome: what needs more than it is given fails."""
        node = job.node
        if node.kind not in TRAINING:
            assert job.place.device == "cpu"
            return 0.1, Outcome(node, Record(key=node.key, kind=node.kind, node_seconds=0.1))
        peak = self.peak(node)
        if peak is not None and peak * GIB > job.place.gpu_share * 24 * GIB:
            error = {"status": "failed", "error_kind": "memory", "error_message": "CUDA out of memory"}
            return 1.0, Outcome(node, Record(key=node.key, kind=node.kind, **error), "memory")
        bytes_ = None if peak is None else int(peak * GIB)
        seconds = self.cost.work(node)
        record = Record(key=node.key, kind=node.kind, node_seconds=seconds, peak_memory=bytes_)
        return seconds, Outcome(node, record)

    def run(self):
        """To the end; returns the driver's summary."""
        self.ray = FakeRay(self.machines, 24 * GIB, self.world)
        self.patch.setitem(sys.modules, "ray", self.ray)
        executor = RayExecutor("auto", 1.0, None, trials_per_gpu=self.trials)
        work = {key: self.cost.work(node) for key, node in self.plan.nodes.items()}
        frontier = Frontier(self.plan, work, ())
        store = Store(str(self.folder / "store"))
        place = Place(store.address)
        driver = Driver(self.spec, self.plan, store, place, executor, self.cost, Clock(), lambda _: None)
        with Progress(Console(quiet=True), frontier) as show:
            summary = driver.run(frontier, show)
        assert summary.computed == len(self.plan.nodes)
        assert executor.capacity.words.endswith("with up to 4 trials") == (self.trials > 1)
        return summary

    def crowds(self):
        """For every start on a GPU: what runs there from then on, the started one last."""
        homes = defaultdict(list)
        for run in self.ray.runs:
            homes[run.home].append(run)
        assert len(homes) == self.machines
        return [
            [*(r for r in runs[:n] if r.end > run.start), run]
            for runs in homes.values()
            for n, run in enumerate(runs)
        ]

    def assert_all_fits(self):
        """The actual peaks, a process for each, and what idle processes keep, at every start."""
        for crowd in self.crowds():
            jobs = [run.job for run in crowd] + crowd[-1].warm
            assert sum((self.peak(j.node) or 0) * GIB + CONTEXT for j in jobs) <= 24 * GIB


@pytest.fixture
def grid(spec, plan, tmp_path, monkeypatch):
    return Grid(spec, plan, tmp_path, monkeypatch)


def test_without_measurements_every_node_has_its_gpu_to_itself(grid):
    grid.peak = lambda _node: None
    grid.run()
    assert {len(crowd) for crowd in grid.crowds()} == {1}
    assert {run.job.place.gpu_share for run in grid.ray.runs} == {1.0}


def test_unless_asked_for_nothing_is_shared_whatever_is_measured(grid):
    grid.trials = 1
    grid.run()
    assert {len(crowd) for crowd in grid.crowds()} == {1}
    assert {run.job.place.gpu_share for run in grid.ray.runs} == {1.0}


def test_what_was_measured_shares_gpus_as_far_as_it_fits(grid):
    grid.run()
    grid.assert_all_fits()
    crowds = [[run.job.node for run in crowd] for crowd in grid.crowds()]
    assert max(map(len, crowds)) == 4
    for run in grid.ray.runs:
        seen = {memory_class(r.job.node) for r in grid.ray.runs if r.end <= run.start}
        assert (run.job.place.gpu_share < 1) == (memory_class(run.job.node) in seen)
    assert grid.ray.now < sum(run.end - run.start for run in grid.ray.runs) / 3


def test_memory_bounds_the_company_before_its_number_does(grid):
    grid.peak = lambda node: 9.0 if node.kind == "trial" else 11.0
    grid.run()
    grid.assert_all_fits()
    assert max(map(len, grid.crowds())) == 2


def test_a_second_run_knows_from_the_start_and_uses_every_gpu(grid):
    grid.run()
    grid.run()
    grid.assert_all_fits()
    first = [run for run in grid.ray.runs if run.start == grid.ray.runs[0].start]
    assert {run.home for run in first} == {"m0/0", "m1/0"}
    assert len(first) == 6  # 6 GiB each, three on a GPU of 24
    assert [run.side for run in first].count(False) == 2


def test_a_node_that_outgrows_its_class_runs_alone_and_its_class_is_not_packed_again(grid):
    node = [n for n in grid.plan.nodes.values() if n.kind == "trial" and n.inputs["method"] == "ga"][1]
    usual = Grid.peak
    grid.peak = lambda n: 5.0 if n.key == node.key else usual(grid, n)
    kind = memory_class(node)
    grid.cost.memory.observe(node, 2 * GIB)
    summary = grid.run()
    assert len(summary.warnings) == 1
    assert "run again with nothing beside it" in summary.warnings[0]
    first, second = [run for run in grid.ray.runs if run.job.node.key == node.key]
    assert first.job.place.gpu_share < 1
    assert second.job.place.gpu_share == 1
    for crowd in grid.crowds():
        if second in crowd:
            assert crowd == [second]
    later = [r for r in grid.ray.runs if r.start >= first.end and memory_class(r.job.node) == kind]
    assert {run.job.place.gpu_share for run in later} == {1.0}
    grid.assert_all_fits()


@pytest.mark.parametrize("machines", [1, 2])
def test_a_gpu_runs_empty_for_the_longest_node_when_that_fits_beside_nothing(grid, machines):
    """Only a side seat, whose GPU is at work, starts a node while one of more than twice its length waits."""
    grid.machines = machines
    grid.peak = lambda node: None if node.inputs["method"] == "qmul" else 2.0
    grid.run()
    grid.assert_all_fits()
    runs = grid.ray.runs
    ends = {run.job.node.key: run.end for run in runs}
    ready = {r.job.node.key: max(ends.get(p, 0.1) for p in r.job.node.parents) for r in runs}
    for run in runs:
        waiting = [o.job.node for o in runs if ready[o.job.node.key] < run.start < o.start]
        longest = max((grid.cost.work(node) for node in waiting), default=0.0)
        assert run.side or longest <= 2 * grid.cost.work(run.job.node)
    assert any(run.side for run in runs)
    for crowd in grid.crowds():
        if any(grid.peak(run.job.node) is None for run in crowd):
            assert len(crowd) == 1


@pytest.mark.parametrize("machines", [1, 2])
def test_nodes_whose_workers_die_beside_others_or_alone_still_finish(grid, machines):
    grid.machines = machines
    grid.peak = lambda node: None if node.inputs["method"] == "qmul" else 2.0
    left = {n.key for n in grid.plan.nodes.values() if n.kind in TRAINING and int(n.key, 16) % 5 == 0}
    usual, count = grid.world, len(left)
    assert count > 20

    def world(job):
        if job.node.key not in left:
            return usual(job)
        left.remove(job.node.key)
        return 0.5 * grid.cost.work(job.node), RayError("worker died")

    grid.world = world
    grid.run()
    grid.assert_all_fits()
    assert len(grid.ray.runs) == count + sum(n.kind in TRAINING for n in grid.plan.nodes.values())


class TestSeats:
    """The executor's own answers, on two machines of a GPU each."""

    @pytest.fixture
    def executor(self, grid):
        ray = FakeRay(2, 24 * GIB, grid.world, slowness=5.0)
        grid.patch.setitem(sys.modules, "ray", ray)
        grid.ray = ray
        return RayExecutor("auto", 1.0, None, trials_per_gpu=4)

    @pytest.fixture
    def trials(self, plan):
        return iter([n for n in plan.nodes.values() if n.kind == "trial" and n.inputs["method"] == "ft"])

    @staticmethod
    def start(executor, slot, node, gib):
        executor.submit(Job(node, Place("unused"), gib * GIB), slot)

    @staticmethod
    def arrive(executor, slots):
        while len(executor.free_slots()) < slots:
            executor.wait(1.0)

    @staticmethod
    def wait_for(executor, count):
        while count > 0:
            count -= len(executor.wait(1.0))

    def test_gpus_on_their_way_come_first_and_gpus_take_turns(self, executor, trials):
        self.arrive(executor, 1)
        assert executor.shareable_slots(100) == []  # nothing is at work
        self.start(executor, 0, next(trials), 2)
        assert executor.shareable_slots(1) == []
        assert executor.shareable_slots(3) == [1, 2]
        self.arrive(executor, 1)
        assert executor.free_slots() == [4]
        assert executor.room(4) == math.inf
        self.start(executor, 4, next(trials), 9)
        assert executor.shareable_slots(100) == [1, 5, 2, 6, 3, 7]
        assert executor.room(1) > executor.room(5) > 9 * GIB
        self.start(executor, 5, next(trials), 9)
        assert executor.room(6) < 3 * GIB

    def test_a_gpu_with_company_is_not_let_go(self, executor, trials):
        self.arrive(executor, 2)
        short, long = next(trials), max(trials, key=CostModel(pace_of("cuda")).work)
        self.start(executor, 0, short, 2)
        self.start(executor, 1, long, 2)
        (outcome,) = executor.wait(1.0)
        assert outcome.node == short
        executor.need(1)
        assert executor.free_slots() == [0]
        assert executor.shareable_slots(100) == []  # it could run empty
        assert executor.room(0) < 24 * GIB
        executor.wait(1.0)
        executor.need(1)
        assert executor.room(0) == math.inf

    def test_what_idle_processes_keep_warm_makes_way(self, executor, trials):
        self.arrive(executor, 2)
        nodes = sorted(trials, key=CostModel(pace_of("cuda")).work)
        for slot, node in ((0, nodes[-1]), (1, nodes[0]), (2, nodes[1])):
            self.start(executor, slot, node, 4)
        self.wait_for(executor, 2)
        self.start(executor, 3, nodes[2], 4)
        assert sum(actor.side for actor in executor._ray.actors) == 3  # 16 GiB and what comes with them
        self.wait_for(executor, 1)
        self.start(executor, 3, nodes[3], 12)
        assert sum(actor.side for actor in executor._ray.actors) == 1

    def test_a_lost_node_that_needs_a_gpu_waits_for_an_empty_one(self, executor, trials, grid):
        self.arrive(executor, 2)
        ray, (short, *_, lost, long) = grid.ray, sorted(trials, key=grid.cost.work)
        ray.slowness = 1e6
        usual, ray.world = ray.world, lambda _job: (1e-3, RayError("died"))
        self.start(executor, 4, lost, math.inf)
        ray.world = usual
        self.start(executor, 0, short, 2)
        self.start(executor, 1, long, 2)
        assert executor.wait(1.0) == []
        assert executor.shareable_slots(100) == []  # not before the lost one has its place
        (outcome,) = executor.wait(1.0)
        assert outcome.node is short
        assert executor.free_slots() == []  # one is free, but has company
        assert [run.home for run in ray.runs if run.job.node is lost] == ["m1/0"]
        (outcome,) = executor.wait(1.0)
        assert outcome.node is long
        assert [run.home for run in ray.runs if run.job.node is lost] == ["m1/0", "m0/0"]

    def test_a_driver_fills_what_room_there_is(self, grid, spec, plan):
        """A side seat without room for anything keeps none with more room from its node."""
        started = []
        executor = SimpleNamespace(
            free_slots=list,
            shareable_slots=lambda _ready: [1, 5, 9],
            room=lambda slot: {1: 1, 5: 9, 9: 1}[slot] * GIB,
            free_tasks=lambda: 0,
            submit=lambda job, slot: started.append((slot, job.memory)),
        )
        done = {key for key, node in plan.nodes.items() if node.kind in ("data", "original")}
        for node in plan.nodes.values():
            grid.cost.memory.observe(node, 2 * GIB)
        driver = Driver(spec, plan, None, Place("unused"), executor, grid.cost, Clock(), None)
        driver.frontier = Frontier(plan, dict.fromkeys(plan.nodes, 1.0), done)
        driver._hand_out()
        assert started == [(5, 2 * GIB)]
