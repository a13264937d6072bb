"""From benchmark results to an entry of orchestrator/plan/costs/paces.json."""

from collections.abc import Sequence

import numpy as np

from core.unlearn import METHODS
from orchestrator.plan.costs.estimate import passes
from orchestrator.plan.costs.paces import AttackPace, Compiling, Device, NetworkPace, Pace, image_work
from tests.bench.beside_training import attack_samples
from tests.bench.compiling import COMPILED, PLAIN as PLAINLY, Compiled
from tests.bench.machine import Facts
from tests.bench.measure import Comparison
from tests.bench.method_epoch import PLAIN, Epochs, settings
from tests.bench.pace import fitted
from tests.bench.pace_sizes import Timed

NEEDED = ("pace", "method_epoch", "compiling")


def measured_pace(results: Sequence[Comparison], machine: Facts) -> Pace:
    """The pace of the hardware that the benchmarks `NEEDED` ran on, of the quickest repetitions.

    What a method costs beside plain training is the ratio of medians, as in the tables.
    """
    timed = [found for found in results if isinstance(found, Timed)]
    epochs = {found.of.arch: found for found in results if isinstance(found, Epochs)}
    compiled = {found.arch: found for found in results if isinstance(found, Compiled)}
    device: Device = "cpu" if next(iter(epochs.values())).of.device == "cpu" else "cuda"
    return Pace(
        hardware=str(machine["cpu" if device == "cpu" else "gpu"]),
        device=device,
        measured=str(machine["date"])[:10],
        torch=str(machine["torch"]),
        dtype="float32" if device == "cpu" else "bfloat16",
        networks={arch: _network(arch, timed, found, compiled[arch]) for arch, found in epochs.items()},
        attack=_attack(next(found for found in timed if found.of_what == "attack")),
    )


def _network(arch: str, timed: Sequence[Timed], epochs: Epochs, compiled: Compiled) -> NetworkPace:
    steps, predictions, node = (
        next(found for found in timed if found.arch == arch and found.of_what == what)
        for what in ("steps", "predictions", "node")
    )
    coefficients, residual = fitted(arch, steps.quickest())
    shares = [
        seconds / (np.array(image_work(arch, size.width, size.pixels, size.batch)) @ coefficients)
        for size, seconds in predictions.quickest().items()
    ]
    gigamac, values, step = (_rounded(each) for each in coefficients)
    return NetworkPace(
        gigamac=gigamac,
        values=values,
        step=step,
        residual=_rounded(residual),
        prediction=_rounded(float(np.mean(shares))),
        node=_rounded(sum(map(min, node.seconds.values()))),
        methods=method_paces(epochs),
        compiling=Compiling(
            seconds=_rounded(compiled.took),
            ratio=_rounded(compiled.median(COMPILED) / compiled.median(PLAINLY)),
        ),
    )


def method_paces(epochs: Epochs) -> dict[str, float]:
    """By method: seconds per image and pass, over those of the plain epoch."""
    case = epochs.of
    plain = epochs.median(PLAIN) / case.retain
    found = {}
    for title, name in epochs.methods.items():
        params = METHODS[name].params(**settings(METHODS[name], case)).model_dump()
        images = passes(name, params, case.forget, case.retain)
        found[name] = _rounded(epochs.median(title) / images / plain)
    return found


def _attack(attack: Timed) -> AttackPace:
    samples = np.log([attack_samples(variant) / 10_000 for variant in attack.seconds])
    seconds = np.log([min(times) for times in attack.seconds.values()])
    power, at_10_000 = np.polyfit(samples, seconds, 1)
    return AttackPace(seconds=_rounded(float(np.exp(at_10_000))), power=_rounded(float(power)))


def _rounded(value: float) -> float:
    return float(f"{value:.3g}")
