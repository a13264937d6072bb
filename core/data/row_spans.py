"""Sets of row numbers as text, `0-4,17`, which is short where rows follow each other and the same for the same set."""

from collections.abc import Iterable

import numpy as np

from core.data.subset import Indices


def spans(rows: Iterable[int]) -> str:
    """The rows, each once and ascending, as `first-last` and single numbers."""
    ordered = np.unique(np.fromiter(rows, np.int64))
    runs = np.split(ordered, np.flatnonzero(np.diff(ordered) != 1) + 1) if len(ordered) else []
    return ",".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)


def rows_of(text: str) -> Indices:
    """The rows (ascending, int64) that `spans` wrote."""
    parts = (part.partition("-") for part in text.split(",") if part)
    found = [np.arange(int(first), int(last or first) + 1) for first, _, last in parts]
    return np.concatenate([np.empty(0, np.int64), *found])
