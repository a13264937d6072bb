"""The second stage, in a process of its own: python -m tests.gpu_check.benchmarks --out DIR [--quick]."""

import time
from argparse import ArgumentParser
from dataclasses import fields
from itertools import chain
from pathlib import Path
from typing import Any

import torch

from orchestrator.plan.costs.paces import write_pace
from tests.bench.machine import Facts, facts
from tests.bench.measure import QUICK, Comparison, Effort, Target
from tests.bench.output import as_json, write
from tests.bench.paces import NEEDED, measured_pace
from tests.bench.suite import BENCHMARKS
from tests.gpu_check.ledger import Ledger, code_digest

VISIT = Effort(repeats=3)  # a GPU's times hardly differ, and a visit is short
RESULTS, PAGES, PACES = "benchmarks.json", "benchmarks", "paces.json"
# They measure what plans, drives and stores, not what a GPU does; two of them need Ray.
ELSEWHERE = ("planning", "node_overhead", "resume", "makespan", "schedule")
FIRST = ("training_step", *NEEDED)  # a short visit should at least know how fast the GPU is
NAMES = sorted((name for name in BENCHMARKS if name not in ELSEWHERE), key=lambda name: name not in FIRST)


def measure(out: Path, effort: Effort, only: list[str]) -> None:
    """Runs what no earlier visit has, and writes results and pages after each benchmark, and the GPU's pace.

    The pace is fitted to what several benchmarks measured, which go together into one visit.
    """
    machine = facts()
    identity = {name: str(machine[name]) for name in ("gpu", "cpu", "torch")}
    identity |= {"code": code_digest("core", "tests/bench"), "repeats": str(effort.repeats)}
    ledger = Ledger(out / RESULTS, identity)
    of_pace: dict[str, list[Comparison]] = {}
    unknown_pace = not effort.tiny and not set(NEEDED) <= ledger.entries.keys()
    for name in only or NAMES:
        if name in ledger.entries and not (unknown_pace and name in NEEDED):
            continue
        start = time.perf_counter()
        found = BENCHMARKS[name](effort)
        took = time.perf_counter() - start
        ledger.add(name, {"seconds": took, "machine": facts(), "comparisons": list(map(as_json, found))})
        if unknown_pace and name in NEEDED:
            of_pace[name] = found
            if of_pace.keys() == set(NEEDED):
                write_pace(measured_pace(list(chain(*of_pace.values())), machine), out / PACES)
        _write_pages(ledger, machine, out / PAGES)
        print(f"{name} took {took:.0f} s", flush=True)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def _write_pages(ledger: Ledger, machine: Facts, folder: Path) -> None:
    """All that is known; after every benchmark, as a visit may end at any time."""
    folder.mkdir(parents=True, exist_ok=True)
    results = [restored(value) for entry in ledger.entries.values() for value in entry["comparisons"]]
    write(results, machine, BENCHMARKS, folder)


def restored(value: dict[str, Any]) -> Comparison:
    """A comparison, from what `as_json` made of it."""
    given = {field.name: value[field.name] for field in fields(Comparison)}
    target = value["target"]
    return Comparison(**given | {"target": Target(**target) if target else None})


def main() -> int:
    """The command."""
    parser = ArgumentParser()
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", action="append", choices=NAMES)
    given = parser.parse_args()
    measure(given.out, QUICK if given.quick else VISIT, given.only or [])
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
