"""The sizes at which networks are timed, and the times with their sizes."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from core.models import MODELS, build
from core.quant import calibrate_
from orchestrator.plan.costs.paces import Device
from orchestrator.spec import titles
from tests.bench.measure import Comparison

CLASSES = 10


class Size(NamedTuple):
    """A network's width, and the images it works on at a time; steps in one repetition."""

    width: float
    pixels: int
    batch: int
    steps: int = 1

    @property
    def words(self) -> str:
        """For the tables."""
        return f"width {self.width:g}, {self.pixels} px, batch {self.batch}"


NETWORKS = ("resnet18", "mobilenetv2")  # the paper's; `plan` takes others for the first, by their size
_CPU: dict[str, tuple[Size, ...]] = {
    "resnet18": (
        Size(1, 32, 16), Size(0.25, 32, 64), Size(0.5, 32, 32), Size(0.5, 64, 8), Size(0.25, 32, 16, 3),
        Size(0.25, 64, 16), Size(0.125, 32, 64, 2),
    ),
    "mobilenetv2": (
        Size(0.5, 32, 64), Size(0.25, 32, 64), Size(0.5, 32, 16), Size(0.5, 64, 16), Size(0.25, 32, 16, 2),
        Size(0.25, 64, 16), Size(1, 32, 16),
    ),
}  # fmt: skip
_CUDA = (
    (1, 32, 256),
    (0.25, 32, 256),
    (1, 32, 64),
    (1, 64, 256),
    (0.5, 32, 256),
    (0.5, 64, 64),
    (2, 32, 256),
)
TINY = (Size(0.1, 8, 2), Size(0.1, 16, 2))


def sizes(arch: str, device: Device) -> tuple[Size, ...]:
    """Small and large ones, the paper's first; a network without any of its own takes multiples of its width."""
    if device == "cpu" and arch in _CPU:
        return _CPU[arch]
    steps, smaller = (20, 1) if device == "cuda" else (1, 16)
    return tuple(
        Size(share * MODELS[arch].width, pixels, batch // smaller, steps) for share, pixels, batch in _CUDA
    )


@dataclass(frozen=True)
class Timed(Comparison):
    """Times of one kind for one network (none for the attack); sizes: the variants', where they have one."""

    of_what: Literal["steps", "predictions", "node", "attack"] = "steps"
    arch: str = ""
    sizes: Mapping[str, Size] = field(default_factory=dict)

    @staticmethod
    def of(
        what: Literal["steps", "predictions"],
        arch: str,
        measured: tuple[Size, ...],
        seconds: Mapping[str, list[float]],
    ) -> "Timed":
        """Seconds of repetitions by size, turned into seconds per image."""
        by_words = {size.words: size for size in measured}
        per_image = {
            name: [each / by_words[name].batch / by_words[name].steps for each in times]
            for name, times in seconds.items()
        }
        return Timed(
            "pace", "", "image", per_image, items=1, item="images", of_what=what, arch=arch, sizes=by_words
        )

    def titled(self, case: str) -> "Timed":
        """The same times under a title."""
        return replace(self, case=case)

    def quickest(self) -> dict[Size, float]:
        """Seconds per image, of the quickest repetition: what else a machine does only adds to them."""
        return {size: min(self.seconds[name]) for name, size in self.sizes.items()}


def network(arch: str, width: float, images_BCHW: Tensor) -> nn.Module:
    """A fresh network at its paper quantization, calibrated, on the images' device."""
    model = build(arch, CLASSES, generator=torch.Generator().manual_seed(2), width=width)
    return calibrate_(model.to(images_BCHW.device), images_BCHW)


def clock(device: Device) -> Callable[[], float]:
    """On one CPU thread the processor time, which other work on the machine hardly changes; else wall time."""
    return time.process_time if device == "cpu" else time.perf_counter


def named(arch: str, device: Device) -> str:
    """`ResNet-18 4w4a, float32, 1 CPU thread`."""
    precision = "float32, 1 CPU thread" if device == "cpu" else "bfloat16 autocast, CUDA"
    return f"{titles.title(arch)} {MODELS[arch].paper_quant.label}, {precision}"
