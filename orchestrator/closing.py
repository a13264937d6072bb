"""What a command leaves on the screen at its end: what failed, how to go on, and where to look further."""

import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.ending import Summary
from orchestrator.printing import nearby
from orchestrator.spec import GridSpec
from tasks.record import Record
from tasks.store import Store

if TYPE_CHECKING:
    from orchestrator.report import Found

_COMMAND = "python -m orchestrator.grid"
_SHOWN = 10  # failures


def command(verb: str, store: Store, *more: str) -> str:
    """A command on a store, to copy."""
    return " ".join([_COMMAND, verb, "--store", shlex.quote(nearby(store.uri)), *more])


def look_further(spec: GridSpec, store: Store) -> list[tuple[str, str]]:
    """Three commands by what they show: the report's page, the runs, the rows."""
    page = Path(store.path("report/index.html")) if store.local else None
    where = nearby(store.uri)
    return [
        ("report", f"python -m webbrowser {page.as_uri()}" if page else command("report", store)),
        ("runs", command("ui" if spec.tracking.enabled else "status", store)),
        ("rows", f'python -c "from orchestrator import load_results; print(load_results({where!r}))"'),
    ]


def failure_lines(failed: Iterable[tuple[str, Record]], store: Store) -> list[str]:
    """The first failures with their reasons and logs. failed: each node in words, and its row."""
    known = list(failed)
    lines = []
    for words, record in known[:_SHOWN]:
        lines.append(f"failed {words}: {record.error_kind}: {record.error_message}")
        if record.log:
            lines.append(f"  log  {nearby(store.path(record.log)) if store.local else record.log}")
    if len(known) > _SHOWN:
        lines.append(f"and {len(known) - _SHOWN} more: see {command('status', store, '--json')}")
    return lines


def missing_lines(found: "Found", store: Store) -> list[str]:
    """A line about a grid that is not whole: how much is there, and how to get the rest."""
    there = sum(entry.row is not None for entry in found.entries)
    if there == len(found.entries):
        return []
    return [
        f"{there:,} of {len(found.entries):,} rows of the tables are there; the rest: {command('run', store)}"
    ]


def outcome_line(summary: Summary) -> str:
    """What a run did, in a line."""
    line = f"{summary.computed} nodes computed" if summary.computed else "nothing left to compute"
    if summary.left:
        line = f"{summary.computed} nodes computed, {summary.left} left: the same command goes on from here"
    return line


def retry_line(failed: int, blocked: int, store: Store) -> str:
    """How to try failures again."""
    kept = f", {blocked} blocked by them" if blocked else ""
    return f"{failed} failed{kept}; retry: {command('run', store, '--retry-failed')}"
