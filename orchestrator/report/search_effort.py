"""What searches cost: the epochs of all trials, beside those that as many whole trials have."""

import json
from collections.abc import Iterable

from orchestrator.results import Entry
from orchestrator.spec import SearchSpec


def effort_text(settings: SearchSpec, entries: Iterable[Entry]) -> str:
    """`halving: 68 epochs, where every trial to its end takes 160`; methods without epochs take no part."""
    spent = whole = 0
    for row in (entry.row for entry in entries):
        if row and row["kind"] == "select" and row["epochs"] is not None:
            spent += row["epochs"]
            whole += settings.trials * json.loads(row["params"] or "{}").get("epochs", 0)
    if settings.mode == "grid":
        return f"grid, every trial to its end: {spent:,} epochs"
    return f"{settings.mode}: {spent:,} epochs, where every trial to its end takes {whole:,}"
