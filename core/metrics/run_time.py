"""RTE: how long the method took."""

from collections.abc import Mapping
from typing import Any


def seconds(model: Mapping[str, Any]) -> float | None:
    """Seconds of the method itself, as the row of the trained model says; None for rows without."""
    value: float | None = model["seconds"]
    return value
