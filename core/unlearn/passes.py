"""What a run costs: images that go forward and backward through the network, for plans to count.

Each function takes the method's hyper-parameters as a node holds them, and how many images there are to forget and to
retain. How long a pass takes on some hardware is measured, see `make bench`.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

Passes = Callable[[Mapping[str, Any], float, float], float]


def both_sets(params: Mapping[str, Any], forget: float, retain: float) -> float:
    """Of a method that goes over both sets in each epoch, or once where it has no epochs."""
    return float(params.get("epochs", 1) * (forget + retain))


def retain_set(params: Mapping[str, Any], _forget: float, retain: float) -> float:
    """Of a method that goes over the retain set in each epoch."""
    return float(params["epochs"] * retain)


def forget_set(params: Mapping[str, Any], forget: float, _retain: float) -> float:
    """Of a method that goes over the forget set in each epoch."""
    return float(params["epochs"] * forget)


def reweighted(params: Mapping[str, Any], forget: float, retain: float) -> float:
    """Of Q-MUL's epochs: over both sets, and before each over the images whose gradients are measured."""
    most = params.get("norm_images") or math.inf
    return float(params["epochs"] * (forget + retain + min(most, forget) + min(most, retain)))


def relabelled(passes: Passes) -> Passes:
    """With similar labels, which are predicted once: forward alone is a third of a pass."""
    return lambda params, forget, retain: forget / 3 + passes(params, forget, retain)
