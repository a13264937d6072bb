"""Faults of the driver: killed, terminated, two at once."""

import random
import signal
import time
from collections.abc import Sequence
from pathlib import Path

from orchestrator.plan.expansion import expand
from orchestrator.plan.grid_plan import make_plan
from orchestrator.spec.specification import GridSpec, SearchSpec
from tasks.store.store import Store
from tests.chaos import grids
from tests.chaos.audit import Finding, audit, rows
from tests.chaos.drivers import Driver, Drivers
from tests.chaos.stub import LOG, SECONDS

Expected = dict[str, tuple[object, ...]]


class Scene:
    """A grid, its store, a log of what ran, and drivers to start."""

    def __init__(
        self,
        drivers: Drivers,
        folder: Path,
        options: Sequence[str] = ("--executor", "inline"),
        spec: GridSpec | None = None,
        **env: str,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.drivers, self.options, self.environment = drivers, options, env
        self.spec: GridSpec = spec or grids.small()
        self.file, self.log = grids.write(self.spec, folder), folder / "log"
        self.log.touch()
        self.plan, self.store = make_plan(self.spec), Store(str(folder / "store"))
        self.total = len(self.plan.nodes)  # searches come to more
        self.began = time.monotonic()

    def start(self, *more: str) -> Driver:
        """A driver of this grid."""
        arguments = ("--spec", str(self.file), "--store", self.store.address, *self.options, *more)
        return self.drivers.start(*arguments, **{LOG: str(self.log), SECONDS: "0.01", **self.environment})

    def wait_for(self, count: int) -> None:
        """Until so many nodes are finished."""
        deadline = time.monotonic() + 60
        while len(self.store.finished()) < min(count, self.total) and time.monotonic() < deadline:
            time.sleep(0.002)

    def events(self, what: str) -> list[list[str]]:
        """The log's lines of one event: event, key, first or again, GPU, time."""
        return [line.split() for line in self.log.read_text().splitlines() if line.startswith(f"{what} ")]

    def finish(self) -> Driver:
        """One more driver, to the end; it must get there."""
        driver = self.start()
        code = driver.wait()
        assert code == 0, f"exit {code}: {driver.errors[-3000:]}"
        return driver

    def audit(self, fault: str, injected: int, expected: Expected, note: str = "") -> Finding:
        """What it cost."""
        seconds = time.monotonic() - self.began
        plan = expand(self.plan, self.store)
        return audit(fault, injected, plan, self.store, self.log, expected, seconds, note)


def undisturbed(drivers: Drivers, folder: Path) -> Expected:
    """The figures of a grid that nothing happens to."""
    scene = Scene(drivers, folder)
    scene.finish()
    return rows(scene.store)


def killed(drivers: Drivers, folder: Path, expected: Expected, rounds: int, seed: int) -> Finding:
    """SIGKILL at random moments of a run, again and again; then one more run, to the end."""
    scene = Scene(drivers, folder)
    hit = kill_rounds(scene, rounds, seed)
    return scene.audit("driver SIGKILL at a random moment", hit, expected, "one process")


def killed_while_searching(drivers: Drivers, folder: Path, rounds: int, seed: int) -> Finding:
    """The same to a grid of successive halvings, whose nodes follow from one another's figures."""
    spec = grids.small(SearchSpec(mode="halving", trials=4))
    calm = Scene(drivers, folder / "undisturbed", spec=spec)
    calm.finish()
    scene = Scene(drivers, folder, spec=spec)
    scene.total = len(calm.store.finished())
    hit = kill_rounds(scene, rounds, seed)
    return scene.audit("driver SIGKILL at a random moment", hit, rows(calm.store), "one process, halving")


def kill_rounds(scene: Scene, rounds: int, seed: int) -> int:
    """Starts drivers and kills them, also while they start or report; then lets one finish. How many were hit."""
    draw, hit = random.Random(seed), 0
    for number in range(rounds):
        done = scene.store.finished()
        room = (scene.total - len(done)) // (rounds - number + 1)
        driver = scene.start()
        scene.wait_for(len(done) + draw.randint(0, 2 * room))
        time.sleep(draw.uniform(0.0, 0.3 if draw.random() < 0.5 else 0.02))
        driver.kill()
        hit += driver.wait() == -signal.SIGKILL
        assert done <= scene.store.finished()
    scene.finish()
    return hit


def terminated(drivers: Drivers, folder: Path, expected: Expected, rounds: int) -> Finding:
    """SIGTERM while nodes run: what is in flight is finished, the report written, exit code 0."""
    scene = Scene(drivers, folder)
    drained = 0
    for number in range(rounds):
        count = len(scene.store.finished())
        driver = scene.start()
        scene.wait_for(count + 5)
        driver.kill(signal.SIGTERM)
        assert driver.wait() == 0, driver.errors[-3000:]
        facts = driver.facts
        drained += facts["left"] > 0
        assert scene.store.get("report/index.html")
        assert facts["computed"] == len(scene.store.finished()) - count
        starts = scene.log.read_text().count("start ")
        assert starts == len(scene.store.finished()), f"round {number}: {starts} starts"
    scene.finish()
    return scene.audit("driver SIGTERM", drained, expected, "drained, report written, exit 0")


def two_at_once(drivers: Drivers, folder: Path, expected: Expected) -> Finding:
    """A second driver is refused, a third joins with --share; both work to the end."""
    scene = Scene(drivers, folder)
    first = scene.start()
    scene.wait_for(5)
    refused, joined = scene.start(), scene.start("--share")
    assert refused.wait() == 2, refused.errors
    (line,) = refused.errors.strip().splitlines()
    assert "a live driver (host " in line
    assert f"process {first.pid}, since" in line
    assert (first.wait(), joined.wait()) == (0, 0), first.errors + joined.errors
    assert "another driver" in joined.errors
    assert scene.store.finished() == scene.plan.nodes.keys()
    assert not scene.store.exists("lease.json")
    note = "the second driver is refused, the third joins with --share"
    return scene.audit("two drivers on one store", 1, expected, note)
