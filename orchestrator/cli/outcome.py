"""What a command leaves at its end: the report, and on the screen what failed, how to go on, where to look."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

from orchestrator import report
from orchestrator.plan import Plan
from orchestrator.spec import GridSpec
from orchestrator.tracking import run_pages
from tasks import Record
from tasks.store import Store, nearby

if TYPE_CHECKING:
    from orchestrator.report import GridContents, GridDifferences
    from orchestrator.run import Summary

PAGE = "report/index.html"
_OPEN = {"darwin": "open", "win32": "start"}.get(sys.platform, "xdg-open")
_COMMAND = "python -m orchestrator.grid"
_SHOWN = 10  # failures
_DIGITS = 12  # of a key


def command(verb: str, store: Store, *more: str) -> str:
    """A command on a store, to copy."""
    return " ".join([_COMMAND, verb, "--store", shlex.quote(nearby(store.uri)), *more])


def look_further(spec: GridSpec, store: Store, asked: str) -> list[tuple[str, str]]:
    """Three commands by what they show, without the verb that was just asked for."""
    found = {
        "page": f"{_OPEN} {shlex.quote(nearby(store.path(PAGE)))}" if store.local else f"{store.uri}/{PAGE}",
        "runs": command("ui", store) if spec.tracking.enabled else None,
        "state": command("status", store) if asked != "status" else None,
        "tables": command("report", store) if asked != "report" else None,
        "plan": command("plan", store),
    }
    return [(name, text) for name, text in found.items() if text][:3]


def failure_lines(failed: Iterable[tuple[str, Record]], store: Store) -> list[str]:
    """The first failures with their reasons and logs. failed: each node in words, and its row."""
    known = list(failed)
    lines = []
    for words, record in known[:_SHOWN]:
        lines.append(f"failed {words}: {record.error_kind}: {record.error_message}")
        if record.log:
            lines.append(f"  log  {_short(nearby(store.path(record.log))) if store.local else record.log}")
    if len(known) > _SHOWN:
        lines.append(f"and {len(known) - _SHOWN} more: see {command('status', store, '--json')}")
    return lines


def _short(log: str) -> str:
    """A log's path as a shell finds it too: a few of the key's 64 digits, and a star."""
    folder, _, name = log.rpartition("/")
    return f"{folder}/{name[:_DIGITS]}*"


def missing_lines(found: GridContents, store: Store) -> list[str]:
    """A line about a grid that is not whole: how much is there, and how to get the rest."""
    there = sum(entry.row is not None for entry in found.entries)
    if there == len(found.entries):
        return []
    return [
        f"{there:,} of {len(found.entries):,} rows of the tables are there; for the rest:",
        f"  {command('run', store)}",
    ]


def outcome_line(summary: Summary) -> str:
    """What a run did, in a line."""
    line = f"{summary.computed} nodes computed" if summary.computed else "nothing left to compute"
    if summary.left:
        line = f"{summary.computed} nodes computed, {summary.left} left: the same command goes on from here"
    return line


def retry_lines(failed: int, blocked: int, store: Store) -> list[str]:
    """How many failed, and how to try them again."""
    kept = f", {blocked} blocked by them" if blocked else ""
    return [f"{failed} failed{kept}; to try them again:", f"  {command('run', store, '--retry-failed')}"]


def report_files(
    spec: GridSpec,
    grid: Plan,
    store: Store,
    warnings: list[str],
    found: GridContents,
    against: GridDifferences | None = None,
    *,
    thumbnails: bool | None = None,
) -> str:
    """Writes the report; returns where its page lies, or what is missing to write one."""
    runs = run_pages(spec, store)
    try:
        return report.write_report(
            store, spec, grid, warnings, found, against, thumbnails=thumbnails, runs=runs
        ).html
    except ModuleNotFoundError as error:
        return f"needs {error.name}: run `report --store {store.uri}` where it is installed"
