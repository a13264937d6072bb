"""What a one-shot method's time grows with: the classes, or the images."""

from collections.abc import Callable

import torch

from core.data.loader import Images, Transform
from core.models import build
from core.quant import QuantSpec, calibrate_
from core.unlearn import METHODS, Problem
from core.unlearn.mnemonic import CODES
from orchestrator.spec import titles
from tests.bench.loading import MEAN, STD
from tests.bench.measure import Comparison, Effort, side_by_side
from tests.bench.surroundings import as_in_a_node

SIZES = ((10, 1_000), (10, 8_000), (80, 1_000))  # classes, images
NAMES = ("mnemonic", "ssd")
WIDTH = 0.125
CPU = torch.device("cpu")


def one_shot(effort: Effort) -> list[Comparison]:
    """One step of mnemonic code, which reads no image, and of SSD, which reads them all; ratios to the first size.

    ResNet-18 4w4a; one class of all is to forget. The weights are random: both do the same work whatever they are.
    """
    sizes = ((2, 16), (4, 32)) if effort.tiny else SIZES
    with as_in_a_node():
        return [_compared(name, sizes, effort.repeats) for name in NAMES]


def _compared(name: str, sizes: tuple[tuple[int, int], ...], repeats: int) -> Comparison:
    variants = {f"{k} classes, {n:,} images": _run(name, k, n) for k, n in sizes}
    case = f"{titles.title(name)}, ResNet-18 4w4a, width {WIDTH:g}, 32 px, 1 CPU thread"
    return Comparison("one_shot", case, "run", side_by_side(variants, repeats), baseline=next(iter(variants)))


def _run(name: str, classes: int, count: int) -> Callable[[], object]:
    generator = torch.Generator().manual_seed(1)
    pixels = torch.randint(256, (count, 3, 32, 32), dtype=torch.uint8, generator=generator)
    images, transform = Images(pixels, torch.arange(count) % classes), Transform(MEAN, STD)
    model = build("resnet18", classes, generator=generator, width=WIDTH, quant=QuantSpec())
    calibrate_(model, transform.normalise(pixels[:64]))
    gone = images.labels == 0
    parts = (images.select(where.nonzero()[:, 0]) for where in (gone, ~gone))
    kept = {CODES: torch.randn(classes, 3, 32, 32, generator=generator)}
    problem = Problem(model.eval(), *parts, classes, transform, CPU, kept=kept)
    method = METHODS[name]
    return lambda: method.run(problem, method.params(), torch.Generator().manual_seed(2))
