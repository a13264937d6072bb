"""Who may be called best: methods compared pair by pair, seed by seed, with what seeds and images leave open.

The method with the smallest AG is best only if its difference to every other method, and to the original that nothing
was done to, is larger than its 95 % interval, and than the noise floor. One seed does not show how far two trainings
lie apart: there nothing is best, and the images alone say what certainly cannot be told apart.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean

from orchestrator.report.image_noise import difference_half, over_seeds
from orchestrator.report.intervals import joined, seed_half
from orchestrator.report.noise import Floor, Near
from orchestrator.results import Entry

BySeed = Mapping[int, Entry]


@dataclass(frozen=True)
class Difference:
    """One AG less another over count common seeds, and half its 95 % interval; None where nothing tells it."""

    mean: float
    half: float | None
    count: int

    @property
    def apart(self) -> bool:
        """Whether it is larger than its interval."""
        return self.half is not None and abs(self.mean) > self.half


@dataclass(frozen=True)
class Verdict:
    """What may be said of one problem's ranked methods (those with the most seeds), smallest AG first.

    leader: the smallest AG. to_leader, to_original: every method's difference to it and to the untouched original.
    level: methods that are not told apart from the leader. closer: those shown to be closer to Retrain than the
    original. best, second: what may be marked; empty where nothing may.
    """

    seeds: int = 0
    ranked: tuple[str, ...] = ()
    to_leader: Mapping[str, Difference] = field(default_factory=dict)
    to_original: Mapping[str, Difference] = field(default_factory=dict)
    level: tuple[str, ...] = ()
    closer: tuple[str, ...] = ()
    best: str = ""
    second: str = ""

    @property
    def leader(self) -> str:
        """The method with the smallest AG; empty where none is ranked."""
        return self.ranked[0] if self.ranked else ""

    @property
    def not_closer(self) -> tuple[str, ...]:
        """The methods that are not shown to do better than nothing."""
        return tuple(method for method in self.ranked if method not in self.closer)

    def near(self, method: str, ag: float, floor: Floor | None) -> Near | None:
        """What a ranked method's AG is not told apart from; None where one seed cannot say that it is.

        Retrain is judged as printed, to two decimals, so that a reader can check it.
        """
        if floor is not None and round(ag, 2) <= round(floor.mean, 2):
            return "retrain"
        if method in self.level:
            return "best"
        return "" if self.seeds > 1 else None


def judge(methods: Mapping[str, BySeed], originals: Mapping[str, BySeed], floor: Floor | None) -> Verdict:
    """The verdict on ranked methods. originals: of each method, the one that it changed; both by label and seed."""
    means = {method: fmean(_gaps(seeds)) for method, seeds in methods.items() if _gaps(seeds)}
    if not means:
        return Verdict()
    ranked = tuple(sorted(means, key=lambda method: means[method]))
    leader, limit = ranked[0], floor.mean if floor else 0.0
    to_leader = {method: difference(methods[method], methods[leader]) for method in ranked[1:]}
    to_original = {
        method: found
        for method in ranked
        if (found := difference(methods[method], originals.get(method, {}))).count
    }
    level = tuple(method for method, found in to_leader.items() if not _told(found, limit))
    closer = tuple(method for method, found in to_original.items() if found.mean < 0 and found.apart)
    seeds = max(len(_gaps(methods[method])) for method in ranked)
    best = leader if seeds > 1 and not level and leader in closer else ""
    second = _second(methods, ranked, closer, limit) if best else ""
    return Verdict(seeds, ranked, to_leader, to_original, level, closer, best, second)


def difference(one: BySeed, other: BySeed) -> Difference:
    """The difference of two AGs over the seeds that both have."""
    values, halves = [], []
    for seed in sorted(one.keys() & other.keys()):
        a, b = one[seed], other[seed]
        if a.ag is not None and b.ag is not None and a.row and b.row and a.reference:
            values.append(a.ag - b.ag)
            halves.append(difference_half(a.row, b.row, a.reference))
    if not values:
        return Difference(0.0, None, 0)
    return Difference(fmean(values), joined(seed_half(values), over_seeds(halves)), len(values))


def _gaps(seeds: BySeed) -> list[float]:
    return [ag for entry in seeds.values() if (ag := entry.ag) is not None]


def _told(found: Difference, limit: float) -> bool:
    """Whether a difference is more than its own interval and the noise floor, the latter as printed."""
    return found.apart and round(abs(found.mean), 2) > round(limit, 2)


def _second(methods: Mapping[str, BySeed], ranked: Sequence[str], closer: Sequence[str], limit: float) -> str:
    """The second, where it does better than nothing and is told apart from all behind it."""
    if len(ranked) < 2 or ranked[1] not in closer:
        return ""
    behind = (difference(methods[method], methods[ranked[1]]) for method in ranked[2:])
    return ranked[1] if all(_told(found, limit) for found in behind) else ""
