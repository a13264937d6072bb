"""A table in a sentence that can be quoted: who leads, who cannot be told apart, who does better than nothing."""

from collections.abc import Sequence

from orchestrator.report.intervals import Figure
from orchestrator.report.tables import Line, Table
from orchestrator.spec import titles

NAMED = 4  # methods named one by one
ONE_SEED = (
    "This is by the images alone: one seed does not show how far two trainings lie apart, so that no method is marked"
    " as best"
)


def quotable(table: Table) -> str:
    """One or two sentences; nothing where there is no method to speak of.

    `With 3 seeds, Q-MUL (AG 5.50 ± 0.90) and RL cannot be told apart; both are closer to Retrain than the untouched
    original (7.20 ± 0.40); 3 of 7 methods are not.`
    """
    if table.refused:
        return f"No gap is judged: {table.refused}."
    leader, seeds = table.leader, table.verdict.seeds
    if leader is None:
        return ""
    head = "With one seed" if seeds == 1 else f"With {seeds} seeds"
    parts = [f"{head}, {_first(table, leader)}", *_beside_nothing(table, leader)]
    return "; ".join(parts) + (f". {ONE_SEED}." if seeds == 1 else ".")


def _first(table: Table, leader: Line) -> str:
    """Who has the smallest AG, and who cannot be told apart from it."""
    name = f"{leader.title} (AG {_text(leader.ag)})"
    if table.level_with_leader:
        return f"{_names([name, *(line.title for line in table.level_with_leader)])} cannot be told apart"
    others = len(table.verdict.ranked) - 1
    if table.verdict.best and others:
        return f"{name} is told apart from {'the other method' if others == 1 else f'all {others} other methods'}"
    return f"{name} {'has the smallest AG' if others else 'stands alone'}"


def _beside_nothing(table: Table, leader: Line) -> list[str]:
    """Which of these do better than the untouched original, and how many of all do not."""
    group = [leader, *table.level_with_leader]
    originals = [line for line in table.lines if line.method == titles.ORIGINAL and line.ag]
    if not originals or not table.verdict.to_original:
        return []
    closer = [line.title for line in group if line.method in table.verdict.closer]
    said = f"closer to Retrain than the untouched original ({_text(originals[0].ag)})"
    return [f"{_of_group(closer, len(group))} {said}", *_of_all(table, len(group))]


def _of_group(closer: Sequence[str], size: int) -> str:
    if size == 1:
        return "it is" if closer else "it is not shown to be"
    if len(closer) == size:
        return "both are" if size == 2 else f"all {size} are"
    if not closer:
        return "neither is shown to be" if size == 2 else "none of them is shown to be"
    return f"of these only {_names(closer)} {'is' if len(closer) == 1 else 'are'} shown to be"


def _of_all(table: Table, shown: int) -> list[str]:
    """The count over all methods, where the group is not all of them."""
    total, missing = len(table.verdict.ranked), len(table.not_closer)
    if total == shown:
        return []
    if missing == total:
        return [f"nor is any other of the {total} methods"]
    if not missing:
        return [f"so are all {total} methods"]
    return [f"{missing} of {total} methods {'is' if missing == 1 else 'are'} not"]


def _names(names: Sequence[str]) -> str:
    """`A`, `A and B`, `A, B and C`, `A, B, C and 4 others`."""
    shown = list(names) if len(names) <= NAMED else [*names[: NAMED - 1], f"{len(names) - NAMED + 1} others"]
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"


def _text(found: Figure | None) -> str:
    if found is None:
        return "–"
    return f"{found.mean:.2f}" + ("" if found.half is None else f" ± {found.half:.2f}")
