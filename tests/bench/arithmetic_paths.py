"""What a training step and an evaluation take in every arithmetic that a processor has."""

from collections.abc import Callable

import torch

from core.data.loader import Batch
from core.quant import integer_forward
from core.train.loop import TrainParams, fit
from core.train.params import Precision
from core.train.precision import autocast
from tests.bench.measure import Comparison, Effort, Target, side_by_side
from tests.bench.surroundings import as_in_a_node
from tests.bench.training_step import FLOAT, OURS, QUANTS, REFERENCE, Case, network, random_batch

BASELINE = f"{FLOAT}, float32"
INTEGERS = f"{OURS}, bfloat16, integer forward"
_PATHS: dict[str, tuple[str, Precision, bool]] = {
    BASELINE: (FLOAT, "float32", False),
    f"{FLOAT}, bfloat16": (FLOAT, "bfloat16", False),
    f"{REFERENCE}, float32": (REFERENCE, "float32", False),
    f"{REFERENCE}, bfloat16": (REFERENCE, "bfloat16", False),
    f"{OURS}, float32": (OURS, "float32", False),
    f"{OURS}, float32, integer forward": (OURS, "float32", True),
    f"{OURS}, bfloat16": (OURS, "bfloat16", False),
    INTEGERS: (OURS, "bfloat16", True),
}


def arithmetic_paths(effort: Effort) -> list[Comparison]:
    """A step of ResNet-18 and a forward pass in eval mode on a CPU: float32, bfloat16, and on integer codes.

    The quantized network beside the same network in full precision, and beside quantizers composed of elementary
    operations with detached rounding, as published code writes them. A processor without the instructions takes
    longer in bfloat16, and computes in floating point where integers are asked for.
    """
    cases = [Case(0.01, 4, 1)] if effort.tiny else [Case(1.0, 64, 1), Case(0.25, 128, 1)]
    with as_in_a_node():
        return [work(case, effort.repeats) for case in cases for work in (_training, _evaluation)]


def _training(case: Case, repeats: int) -> Comparison:
    batch = random_batch(case)
    variants = {name: _step(case, batch, *path) for name, path in _PATHS.items()}
    target = Target(INTEGERS, "ratio", 0.7) if case.width == 1 else None
    return _compared(case, "step", variants, repeats, target)


def _evaluation(case: Case, repeats: int) -> Comparison:
    batch = random_batch(case)
    variants = {name: _forward(case, batch, *path) for name, path in _PATHS.items()}
    return _compared(case, "forward pass", variants, repeats, None)


def _compared(
    case: Case, unit: str, variants: dict[str, Callable[[], None]], repeats: int, target: Target | None
) -> Comparison:
    words = case.words.replace("float32, ", "")
    seconds = side_by_side(variants, repeats)
    return Comparison(
        "arithmetic_paths", words, unit, seconds, case.steps, case.batch, "images", BASELINE, target
    )


def _step(case: Case, batch: Batch, quant: str, precision: Precision, integers: bool) -> Callable[[], None]:
    model = network(case.width, QUANTS[quant], batch.images)
    params = TrainParams(epochs=1, lr=0.01, batch_size=case.batch, precision=precision)

    def step() -> None:
        with integer_forward(integers):
            fit(model, lambda _: [batch] * case.steps, params, torch.Generator().manual_seed(3))

    return step


def _forward(
    case: Case, batch: Batch, quant: str, precision: Precision, integers: bool
) -> Callable[[], None]:
    model = network(case.width, QUANTS[quant], batch.images).eval()

    def forward() -> None:
        with torch.no_grad(), integer_forward(integers), autocast(torch.device("cpu"), precision):
            for _ in range(case.steps):
                model(batch.images)

    return forward
