"""Which hyper-parameters a cell tries: the same number of trials for every method, spread over its ranges."""

from core.unlearn import METHODS

GOLDEN = 0.6180339887498949  # steps of this share never repeat and fill a range evenly


def grid_points(method: str, arch: str, trials: int, fixed: frozenset[str]) -> list[dict[str, float]]:
    """The points of a method's search on an architecture, to 4 significant digits.

    The first range is cut evenly from end to end (logarithmically where it is a learning rate). A further
    range takes golden-ratio steps, so that every trial sees another value and no trial is added: two
    dimensions cost what one does. One trial sits in the middle. Fixed hyper-parameters are not searched; a
    method with nothing to search has one trial.
    """
    ranges = {name: r for name, r in METHODS[method].space(arch).items() if name not in fixed}
    if not ranges:
        return [{}]
    points = []
    for number in range(trials):
        shares = [number / (trials - 1) if trials > 1 else 0.5]
        shares += [((number + 1) * GOLDEN * dimension) % 1 for dimension in range(1, len(ranges))]
        pairs = zip(ranges.items(), shares, strict=True)
        points.append({name: float(f"{r.at(share):.4g}") for (name, r), share in pairs})
    return points
