"""The grid that most tests are made from: the recipe `digits` with one problem and one seed, on all images."""

from orchestrator.spec.recipes import RECIPES
from orchestrator.spec.specification import GridSpec


def digits() -> GridSpec:
    """Eight methods on digits, three trials each, a tenth forgotten at random."""
    fewer = {"ratios": (0.1,), "classes": (), "seeds": (1,), "data": {}}
    return GridSpec.model_validate(RECIPES["digits"]().model_dump() | fewer)
