"""How far a grid is, from what its store holds, also while another process works on it."""

import re
import time
from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from statistics import fmean
from typing import Any

from rich.console import Console

from orchestrator.cli.estimate import cost_from_rows, grid_facts, node_counts
from orchestrator.cli.outcome import command, failure_lines, look_further, retry_lines
from orchestrator.cli.printing import say_facts, say_lines, say_sentences
from orchestrator.plan import Cell, Frontier, Plan, State
from orchestrator.results import Row, others, read_rows
from orchestrator.run import learn, words
from orchestrator.spec import GridSpec, titles
from tasks import TRAINING, Record
from tasks.store import SILENT, Running, Store, alive, read_lease, read_running

WINDOW = timedelta(minutes=10)  # over which the present pace is taken
_SHOWN = 10  # saved states that are looked at
_STATE = re.compile(r"v[12]-(\d+)-")  # of what `tasks.nodes.unfinished` leaves


@dataclass(frozen=True)
class Pace:
    """What a live driver has done lately. workers: how many at a time were busy, by the rows' own times."""

    minutes: float
    nodes_per_hour: float
    trials_per_hour: float
    workers: float


@dataclass(frozen=True)
class GridState:
    """A grid's state. facts: as JSON. failed: each failed node in words, with its row."""

    facts: dict[str, Any]
    failed: list[tuple[str, Record]]


def grid_state(spec: GridSpec, grid: Plan, store: Store, *, allow_cpu: bool = False) -> GridState:
    """Reads the store once: what is done, what failed, who works on it, how fast, and what is under way."""
    finished = store.finished()
    rows = [row for row in read_rows(store)[0] if row["key"] in grid.nodes]
    failures = {key: record for key, record in store.failures().items() if key in grid.nodes}
    cost = cost_from_rows(spec, grid, rows, allow_cpu=allow_cpu)
    told = {key: each for key, each in read_running(store).items() if key not in finished}
    learn(cost, [grid.nodes[key] for key in told if key in grid.nodes], told)
    facts = grid_facts(spec, grid, store, finished, cost)
    driver = _driver(store)
    working = driver is not None and driver["alive"]
    pace = _pace(rows, driver) if working else None
    frontier = Frontier(grid, dict.fromkeys(grid.nodes, 0.0), finished, failures)
    waiting = [grid.nodes[key] for key in frontier.keys(State.WAITING)]
    facts |= {
        "state": _state(facts, len(waiting), working),
        "driver": driver,
        "pace": asdict(pace) if pace else None,
        "eta_seconds": round(cost.total(waiting) / pace.workers, 1) if pace and pace.workers else None,
        "running": [_at_work(each) for each in told.values()],
        "waiting": len(waiting),
        "blocked": frontier.count(State.BLOCKED),
        "saved_states": _saved(grid, store, finished),
        "failed": {k: f"{r.error_kind}: {r.error_message}" for k, r in failures.items()},
        "logs": {k: r.log for k, r in failures.items()},
        "best": _best(rows, grid),
        "node_hours": round(sum(row["node_seconds"] or 0.0 for row in rows) / 3600, 3),
        "other_grids": others(store, spec),
    }
    return GridState(facts, [(grid.nodes[key].words, record) for key, record in failures.items()])


def _best(rows: Iterable[Row], grid: Plan) -> list[dict[str, Any]]:
    """For each problem the method with the smallest mean AG over the seeds that are there."""
    cells = {key: cell for cell, key in grid.cells.items() if cell.method != "retrain"}
    gaps: dict[Cell, dict[str, list[float]]] = {}
    for row in rows:
        if row["key"] in cells and row["ag"] is not None:
            cell = cells[row["key"]]
            gaps.setdefault(cell.problem._replace(seed=0), {}).setdefault(cell.method, []).append(row["ag"])
    found = []
    for problem, methods in gaps.items():
        best = min(methods, key=lambda method: fmean(methods[method]))
        found.append(
            {
                **{
                    axis: getattr(problem, axis)
                    for axis in ("dataset", "arch", "quant", "scenario", "amount")
                },
                "method": best,
                "ag": round(fmean(methods[best]), 3),
                "seeds": len(methods[best]),
            }
        )
    return found


def _best_words(best: dict[str, Any]) -> str:
    """`Q-MUL 5.5 (random 30 %)`, with the data set and the network in front."""
    where = (titles.title(best["dataset"]), titles.title(best["arch"]), best["quant"])
    problem = f"{' '.join(where)} {titles.scenario(best['scenario'], best['amount'])}"
    return f"{titles.title(best['method'])} {best['ag']:.1f} ({problem})"


def _at_work(told: Running) -> dict[str, Any]:
    """A running node, as JSON. silent_seconds: since a batch or an epoch ended."""
    return {
        "node": told.node,
        "host": told.host,
        "pid": told.pid,
        "epoch": told.epoch,
        "epochs": told.epochs,
        "images_per_second": told.per_second,
        "seconds_left": told.left,
        "silent_seconds": round(told.silent, 1),
        "stuck": told.silent > SILENT,
        "facts": told.facts,
        "words": words(told),
    }


def _state(facts: dict[str, Any], waiting: int, working: bool) -> str:
    if not facts["left"]:
        return "done"
    if working:
        return "running"
    if not waiting:
        return "finished with failures"
    return "stopped" if facts["done"] else "not begun"


def _driver(store: Store) -> dict[str, Any] | None:
    """Who holds the store's lease, dead or alive."""
    holder = read_lease(store)
    if holder is None:
        return None
    return {
        "host": holder.host,
        "pid": holder.pid,
        "since": holder.since,
        "seconds_since_last_sign": round(max(0.0, time.time() - holder.at), 1),
        "alive": alive(store, holder, patient=False),
    }


def _pace(rows: Iterable[Row], driver: dict[str, Any] | None) -> Pace | None:
    """Of the last minutes, or since the driver began; None if no training has ended in them."""
    now = datetime.now(UTC)
    start = now - WINDOW
    if driver is not None:
        start = max(start, datetime.strptime(driver["since"], "%Y-%m-%d %H:%M:%S UTC").replace(tzinfo=UTC))
    recent = [row for row in rows if row["finished_at"] and row["finished_at"] > start]
    seconds = (now - start).total_seconds()
    trained = [row for row in recent if row["kind"] in TRAINING]
    if not trained or seconds < 1:
        return None
    busy = sum(min(row["node_seconds"] or 0.0, seconds) for row in trained) / seconds
    trials = sum(row["kind"] == "trial" for row in trained)
    hour = 3600 / seconds
    return Pace(round(seconds / 60, 1), round(len(recent) * hour, 1), round(trials * hour, 1), round(busy, 2))


def _saved(grid: Plan, store: Store, finished: Collection[str]) -> list[dict[str, Any]]:
    """Trainings that have left a state to go on from: at work or interrupted, which the store does not know."""
    keys = [key for key in store.names("partial") if key in grid.nodes and key not in finished]
    found = []
    for key in keys[:_SHOWN]:
        epochs = [int(m[1]) for name in store.names(store.partial(key)) if (m := _STATE.match(name))]
        if epochs:
            of = grid.nodes[key].inputs["params"].get("epochs")
            found.append({"node": grid.nodes[key].words, "epoch": max(epochs), "epochs": of})
    return found


def print_state(console: Console, spec: GridSpec, store: Store, found: GridState) -> None:
    """The state for a person, and how to go on."""
    facts = found.facts
    console.print(f"grid {spec.recipe}: {facts['state']}", style="bold", highlight=False, markup=False)
    say_facts(console, _rows(facts))
    if found.failed:
        retry = retry_lines(len(found.failed), facts["blocked"], store)
        say_sentences(console, ["", *failure_lines(found.failed, store), *retry])
    console.print()
    say_lines(console, _commands(spec, store, facts))


def _commands(spec: GridSpec, store: Store, facts: dict[str, Any]) -> list[tuple[str, str]]:
    """Where to look, or how to go on."""
    if facts["state"] == "done":
        return look_further(spec, store, "status")
    going = [("go on", command("run", store))] if facts["state"] in ("stopped", "not begun") else []
    return [*going, ("so far", command("report", store))]


def _rows(facts: dict[str, Any]) -> dict[str, str]:
    rows = {"driver": _driver_words(facts["driver"])} if facts["driver"] else {}
    rows |= {
        "cells": f"{facts['cells_done']:,} of {facts['cells']:,} done",
        "nodes": node_counts(facts),
    }
    if facts["pace"]:
        pace = Pace(**facts["pace"])
        rows["lately"] = (
            f"{pace.nodes_per_hour:,.0f} nodes/h · {pace.trials_per_hour:,.0f} trials/h · {pace.workers:.1f} workers "
            f"busy, over {titles.duration(60 * pace.minutes)}"
        )
    if facts["running"]:
        shown = [f"{each['node']}: {each['words']}" for each in facts["running"][:_SHOWN]]
        more = len(facts["running"]) - len(shown)
        rows["at work"] = "; ".join([*shown, f"and {more} more"] if more else shown)
    if facts["eta_seconds"]:
        rows["left"] = f"about {titles.duration(facts['eta_seconds'])} at that pace"
    elif facts["waiting"]:
        rows["left"] = f"about {titles.duration(3600 * facts['hours'])} {facts['hours_are']}"
    if facts["best"]:
        shown = [_best_words(best) for best in facts["best"][:_SHOWN]]
        rows["lowest AG"] = " · ".join(shown)
    rows["spent"] = f"{titles.duration(3600 * facts['node_hours'])} of workers' time"
    if facts["saved_states"]:
        each = (f"{s['node']}: epoch {s['epoch']} of {s['epochs']}" for s in facts["saved_states"])
        rows["saved"] = "states of unfinished trainings: " + "; ".join(each)
    if facts["other_images"]:
        rows["images"] = "; ".join(facts["other_images"])
    if facts["other_grids"]:
        rows["also here"] = f"other grids: {', '.join(facts['other_grids'])}; --spec FILE reports on one"
    return rows | {"store": facts["store"]}


def _driver_words(driver: dict[str, Any]) -> str:
    who = f"host {driver['host']}, process {driver['pid']}, since {driver['since']}"
    sign = titles.duration(driver["seconds_since_last_sign"])
    return (
        f"{who}, last sign of life {sign} ago" if driver["alive"] else f"gone ({who}); a new run takes over"
    )
