"""How far two results are apart, and what one item of the parity check is."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

DRAWS = 8

Tensors = Mapping[str, Tensor]
Deviations = dict[str, float]


@dataclass(frozen=True)
class Item:
    """One comparison of the device with the CPU.

    measure: from the number of a draw, deviations by name. tolerances: the largest that agree, by the same names.

    Devices add up in another order, so that now and then a value lies on the other side of a rounding boundary,
    and everything behind it is on another path. Such a draw says nothing; one of `DRAWS` in which all deviations are
    rounding shows that the computation is the same. A wrong one is wrong in all of them.
    """

    name: str
    measure: Callable[[int], Deviations]
    tolerances: Deviations

    def check(self) -> dict[str, object]:
        """The first draw that agrees, or the one nearest to it."""
        best, nearest, draws = {}, math.inf, 0
        for draw in range(DRAWS):
            draws, found = draw + 1, self.measure(draw)
            worst = max(_times(found[name], limit) for name, limit in self.tolerances.items())
            if worst < nearest or not best:
                best, nearest = found, worst
            if worst <= 1:
                break
        return {"deviations": best, "tolerances": self.tolerances, "draws": draws, "agrees": nearest <= 1}


def _times(value: float, limit: float) -> float:
    """The deviation in units of its tolerance; what is not a number is infinitely far away."""
    return value / limit if math.isfinite(value) else math.inf


def largest(expected: Tensor, found: Tensor) -> float:
    """The largest difference of two values, over the largest magnitude."""
    expected, found = _comparable(expected), _comparable(found)
    return _over(float((found - expected).abs().max()), float(expected.abs().max()))


def distance(expected: Tensors, found: Tensors, start: Tensors | None = None) -> float:
    """Length of the difference of two sets of tensors, over that of the first, or of its way from `start`."""
    names = list(expected)
    origin = {name: torch.zeros(()) for name in names} if start is None else start
    apart = _length(_comparable(found[n]) - _comparable(expected[n]) for n in names)
    return _over(apart, _length(_comparable(expected[n]) - _comparable(origin[n]) for n in names))


def _comparable(x: Tensor) -> Tensor:
    return x.detach().cpu().double()


def _length(parts: Iterable[Tensor]) -> float:
    return math.sqrt(sum(float(part.square().sum()) for part in parts))


def _over(difference: float, size: float) -> float:
    """A ratio in which nothing over nothing is 0."""
    return 0.0 if difference == 0 else difference / size if size > 0 else math.inf
