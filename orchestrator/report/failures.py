"""Failed nodes as the report shows them: grouped by kind, with what the log ended on."""

from collections.abc import Iterable
from dataclasses import dataclass

from orchestrator.plan import Plan
from orchestrator.results import Row
from tasks.store import Store

LOGS = 20  # failures whose log is shown; the others name theirs
LOG_LINES = 25
ADVICE = {
    "numeric": "The loss was not finite. The same settings diverge again; a search passes them over.",
    "memory": "Memory ran out, of the GPU or of the machine.",
    "corrupt": "A file in the store was broken; what made it runs again.",
    "store": "The store could not be read or written.",
    "bad input": "The node was asked for something that cannot be done.",
    "system": "Something outside the computation; the log says what.",
}


@dataclass(frozen=True)
class Failure:
    """A failed node. tail: the last lines of its log, of the first few failures."""

    words: str
    kind: str
    message: str
    log: str
    tail: str


@dataclass(frozen=True)
class FailureGroup:
    """Failures of one kind. advice: what that kind means."""

    kind: str
    advice: str
    failures: tuple[Failure, ...]


def failures_of(store: Store, plan: Plan, rows: Iterable[Row]) -> list[Failure]:
    """The failed nodes among rows of the plan."""
    failed = [row for row in rows if row["status"] != "done"]
    return [
        Failure(
            plan.nodes[row["key"]].words,
            row["error_kind"] or "unknown",
            clean(row["error_message"] or "no message"),
            row["log"] or "",
            _tail(store, row["log"]) if number < LOGS else "",
        )
        for number, row in enumerate(failed)
    ]


def by_kind(failures: Iterable[Failure]) -> list[FailureGroup]:
    """The failures by kind, in the order in which kinds first appear."""
    found: dict[str, list[Failure]] = {}
    for failure in failures:
        found.setdefault(failure.kind, []).append(failure)
    return [FailureGroup(kind, ADVICE.get(kind, ""), tuple(group)) for kind, group in found.items()]


def clean(text: str) -> str:
    """Text without control characters, which no page may hold."""
    return "".join(c if c.isprintable() or c == "\t" else " " for c in text)


def _tail(store: Store, log: str | None) -> str:
    """A log's last lines; nothing if it is gone."""
    try:
        text = store.get(log).decode(errors="replace") if log else ""
    except OSError:
        return ""
    return "\n".join(clean(line) for line in text.splitlines()[-LOG_LINES:])
