"""What is shown while a grid runs: on a terminal, in a log file, with many workers, with failures."""

import io
import re
from collections import Counter

import pytest
from rich.console import Console

from orchestrator.plan.frontier import Frontier
from orchestrator.plan.grid_plan import make_plan
from orchestrator.run.progress import Progress, Rate, counts_of
from tasks.store.store import Store
from tests.orchestrator.fake_results import Fake, small_spec


@pytest.fixture
def frontier():
    plan = make_plan(small_spec(ratios=(0.1, 0.3, 0.5)))
    keys = list(plan.nodes)
    return Frontier(plan, dict.fromkeys(keys, 1.0), keys[:8])


def take(frontier, count):
    return [node for _ in range(count) if (node := frontier.next_training(None, 1e9))]


def shown(frontier, running, width=80, height=40, **options):
    console = Console(width=width, height=height, file=io.StringIO(), force_terminal=True, **options)
    console.print(Progress(console, frontier).view(counts_of(frontier), running, 7200.0))
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", console.file.getvalue())


def test_every_stage_has_its_counts(frontier):
    running = take(frontier, 3)
    text = shown(frontier, running)
    counts = frontier.plan.counts()
    for kind, known in counts.items():
        (line,) = re.findall(rf"^{kind} .*$", text, re.MULTILINE)
        done = sum(frontier.plan.nodes[k].kind == kind for k in list(frontier.plan.nodes)[:8])
        assert f"{done}/{known}" in line
        at_work = sum(node.kind == kind for node in running)
        assert (f"{at_work} running" in line) == bool(at_work)
    assert "about 2.0 h left" in text


@pytest.mark.parametrize("width", [80, 120])
def test_running_nodes_are_listed_as_far_as_there_is_room(frontier, width):
    running = take(frontier, 11)
    text = shown(frontier, running, width)
    assert max(map(len, text.splitlines())) <= width
    assert "+ 3 more" in text
    assert running[0].words[:40] in text
    assert "+ 10 more" in shown(frontier, running, width, height=6)


def test_nothing_is_coloured_without_colours(frontier, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    console = Console(width=80, file=io.StringIO(), force_terminal=True)
    console.print(Progress(console, frontier).view(counts_of(frontier), take(frontier, 2), 60.0))
    assert not re.search(r"\x1b\[(3|4|9)\d", console.file.getvalue())


def test_a_log_file_gets_whole_lines_and_only_now_and_then(frontier, monkeypatch):
    now = [0.0]
    monkeypatch.setattr("orchestrator.run.progress.time.monotonic", lambda: now[0])
    console = Console(width=80, file=io.StringIO())
    with Progress(console, frontier) as show:
        for _ in range(100):
            now[0] += 1.0
            show.update([], lambda: 90.0)
    lines = console.file.getvalue().splitlines()
    assert len(lines) == 3
    assert all(line.endswith("about 1.5 min left") for line in lines)
    assert "\r" not in console.file.getvalue()
    assert "\x1b" not in console.file.getvalue()


def test_a_slow_look_is_taken_less_often(frontier, monkeypatch):
    """In a plan of a hundred thousand nodes the driver must not spend its time on what it shows."""
    now = [0.0]
    monkeypatch.setattr("orchestrator.run.progress.time.monotonic", lambda: now[0])
    show = Progress(Console(width=80, file=io.StringIO()), frontier)
    looks = []

    def eta():
        looks.append(now[0])
        now[0] += 10.0
        return 1.0

    for _ in range(2000):
        now[0] += 0.5
        show.update([], eta)
    assert len(looks) * 10.0 <= now[0] / 15


def test_throughput_is_that_of_the_last_minutes():
    rate = Rate()
    rate.take(0.0, Counter())
    assert rate.words == ""
    for minute in range(1, 31):
        done = 100 * min(minute, 15) + 10 * max(minute - 15, 0)
        rate.take(60.0 * minute, Counter(trial=done))
    assert rate.words == "600 nodes/h, 600 trials/h"


def test_a_failure_names_its_log(tmp_path):
    fake = Fake(Store(str(tmp_path)), small_spec())
    fake.fill(fail=lambda node: node.kind == "trial" and node.inputs["method"] == "ft")
    record = next(r for r in fake.rows.values() if r.status == "failed")
    console = Console(width=80, file=io.StringIO())
    frontier = Frontier(fake.plan, dict.fromkeys(fake.plan.nodes, 1.0), ())
    Progress(console, frontier).failure(fake.plan.nodes[record.key], record)
    text = console.file.getvalue()
    assert text.startswith("failed trial cifar10 resnet18 4w4a random 0.1 ft lr ")
    assert record.log in text
