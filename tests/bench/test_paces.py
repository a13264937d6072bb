"""From times to a pace: fits find the numbers that made the times."""

import numpy as np
import pytest

from orchestrator.plan.costs.paces import Compiling, image_work
from tests.bench.beside_training import attack_samples, attack_words
from tests.bench.compiling import COMPILED, PLAIN as PLAINLY, Compiled
from tests.bench.method_epoch import PLAIN, Case, Epochs
from tests.bench.pace import fitted
from tests.bench.pace_sizes import Timed, sizes
from tests.bench.paces import measured_pace, method_paces

FACTS = {"cpu": "a core", "gpu": "none", "date": "2026-11-21T01:02:03", "torch": "2"}


def seconds(arch, size, units=(0.04, 0.003, 0.01)):
    return float(np.dot(image_work(arch, size.width, size.pixels, size.batch), units))


@pytest.mark.parametrize("arch", ["resnet18", "mobilenetv2"])
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_a_fit_finds_the_paces_that_made_the_times(arch, device):
    """So the sizes tell the three apart."""
    coefficients, residual = fitted(arch, {size: seconds(arch, size) for size in sizes(arch, device)})
    assert coefficients == pytest.approx([0.04, 0.003, 0.01])
    assert residual == pytest.approx(0, abs=1e-6)


def test_no_pace_is_negative_and_the_residual_is_relative():
    times = {size: seconds("resnet18", size, (0.04, -0.001, 0.01)) for size in sizes("resnet18", "cpu")}
    coefficients, residual = fitted("resnet18", times)
    assert (coefficients >= 0).all()
    assert 0 < residual < 0.2


def epochs():
    case = Case("resnet18", 0.25, batch=10)
    times = {PLAIN: [0.9], "FT": [1.8], "GA": [0.1], "Q-MUL": [2.0 + 1 / 30]}
    names = {"FT": "ft", "GA": "ga", "Q-MUL": "qmul"}
    return Epochs("method_epoch", "", "epoch", times, baseline=PLAIN, of=case, methods=names)


def test_a_methods_pace_is_per_pass_over_an_image():
    """A plain epoch of 90 images takes 10 ms each; Q-MUL makes 2 passes over 100 and a third of one over 10."""
    assert method_paces(epochs()) == pytest.approx({"ft": 2.0, "ga": 1.0, "qmul": 1.0}, rel=0.01)


def test_an_entry_is_made_of_the_results():
    measured = sizes("resnet18", "cpu")
    steps = {size.words: [seconds("resnet18", size) * size.batch * size.steps] for size in measured}
    predicted = {size.words: [seconds("resnet18", size) / 4 * size.batch] for size in measured[:1]}
    attacks = {attack_words(n): [4e-8 * n**2] for n in (1000, 2000, 10_000)}
    compared = {PLAINLY: [2.0, 3.0, 4.0], COMPILED: [2.4, 9.0, 2.0]}
    node = {"load": [0.7, 0.6, 0.9], "commit": [0.2, 0.2, 0.2]}
    pace = measured_pace(
        [
            Timed.of("steps", "resnet18", measured, steps),
            Timed.of("predictions", "resnet18", measured[:1], predicted),
            Timed("pace", "", "node", node, of_what="node", arch="resnet18"),
            Timed("pace", "", "attack", attacks, of_what="attack"),
            epochs(),
            Compiled("compiling", "", "step", compared, arch="resnet18", took=40.0),
        ],
        FACTS,
    )
    network = pace.networks["resnet18"]
    assert (pace.hardware, pace.device, pace.measured, pace.dtype) == (
        "a core",
        "cpu",
        "2026-11-21",
        "float32",
    )
    assert (network.gigamac, network.values, network.step) == (0.04, 0.003, 0.01)
    assert (network.prediction, network.node) == (0.25, 0.8)
    assert network.compiling == Compiling(seconds=40.0, ratio=0.8)
    assert (pace.attack.seconds, pace.attack.power) == (4.0, 2.0)


def test_an_attacks_variant_says_its_samples():
    assert attack_samples(attack_words(10_000)) == 10_000
