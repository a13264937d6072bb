"""From labels as people write them, words or numbers, to classes 0, 1, 2 …"""

import re
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from core.errors import BadInput

_WHOLE = re.compile(r"-?\d{1,18}", re.ASCII)  # what int64 holds


def class_numbers(labels: Iterable[str]) -> dict[str, int]:
    """A number for every label: in the order of their values where all are whole numbers, else of their letters.

    >>> class_numbers(["10", "9"])
    {'9': 0, '10': 1}
    """
    found = set(labels)
    numeric = all(map(_WHOLE.fullmatch, found))
    order = sorted(found, key=lambda label: (int(label) if numeric else 0, label))
    return {label: number for number, label in enumerate(order)}


def as_text(labels: Sequence[Any], where: object) -> list[str]:
    """Labels of one column as text; whole numbers without a point, whatever their type.

    Raises BadInput naming the row for one that is missing, no whole number, or neither number nor word.
    """
    return [_text(label, f"{where} row {row}") for row, label in enumerate(labels)]


def _text(label: Any, where: str) -> str:
    if isinstance(label, bytes):
        label = label.decode("utf-8", "replace")
    if isinstance(label, str):
        return label.strip()
    if isinstance(label, float):
        if not label.is_integer():
            raise BadInput(f"{where}: label {label:g} is not a whole number")
        label = int(label)
    if isinstance(label, int):  # True is 1
        return str(int(label))
    raise BadInput(f"{where}: the label is {type(label).__name__}, expected a number or a word")


def whole_numbers(labels: Sequence[str]) -> npt.NDArray[np.int64] | None:
    """The labels as numbers, None if any is a word."""
    if not all(map(_WHOLE.fullmatch, labels)):
        return None
    return np.array([int(label) for label in labels], dtype=np.int64)
