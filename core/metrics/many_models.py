"""Margins of many models as the attacks want them: float64, models × images, finite, and as many as an attack needs."""

from typing import Any

import numpy as np

from core.errors import BadInput


def side(values_MN: Any, name: str, least: int) -> np.ndarray:
    """One side of a comparison, float64, M x N. Raises BadInput for another shape, too few models, or no numbers."""
    side_MN = np.asarray(values_MN, np.float64)
    if side_MN.ndim != 2:
        raise BadInput(f"{name}: margins are models × images, these have {side_MN.ndim} dimensions")
    if len(side_MN) < least:
        raise BadInput(f"{name}: {len(side_MN)} models, where the attack needs at least {least}")
    if not np.isfinite(side_MN).all():
        raise BadInput(f"{name}: some margins are not finite")
    return side_MN


def sides(one_MN: Any, other_MN: Any, names: tuple[str, str], least: int) -> tuple[np.ndarray, np.ndarray]:
    """Two sides of a comparison, about the same images. Raises BadInput as `side` does."""
    one, other = (side(values, name, least) for values, name in zip((one_MN, other_MN), names, strict=True))
    same_images(one, other, names)
    return one, other


def same_images(one: np.ndarray, other: np.ndarray, names: tuple[str, str]) -> None:
    """BadInput where the last axes of two arrays differ."""
    if one.shape[-1] != other.shape[-1]:
        raise BadInput(
            f"{names[0]} is about {one.shape[-1]} images, {names[1]} about {other.shape[-1]}; both must be the same"
        )


def log_normal(x: np.ndarray, centre: np.ndarray, deviation: np.ndarray) -> np.ndarray:
    """Log density of a normal without its constant; a deviation of 0 gets the published code's 1e-30."""
    spread = deviation + 1e-30
    return -np.log(spread) - 0.5 * ((x - centre) / spread) ** 2
