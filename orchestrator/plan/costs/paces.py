"""How fast hardware trains: `paces.json` as `python -m tests.bench` measured it, and the paper's GPU beside it."""

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from core.errors import BadInput
from core.gpu import gpu_name
from core.models import model_info
from core.network_costs import megamacs

FILE = Path(__file__).with_name("paces.json")
Device = Literal["cpu", "cuda"]
Seconds = Annotated[float, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]

# Retrain on CIFAR-10, ResNet-18 4w4a: 160 epochs × 40,500 images in batches of 256 (paper, appendix E)
_PAPER_GPU, _PAPER_SECONDS_PER_IMAGE = "RTX 4090", 22.05 * 60 / (160 * 40_500)


class Work(NamedTuple):
    """What one image of a batch costs a network: 10⁹ multiply-accumulates, values moved, its share of a step.

    Values are counted in those of the paper's width at 32 pixels: they grow with width and pixels².
    """

    gigamacs: float
    values: float
    step: float


def image_work(arch: str, width: float, pixels: int, batch: int, classes: int = 10) -> Work:
    """Of a forward pass over an image of `pixels`² in a batch, at a channel multiplier."""
    wider, area = width / model_info(arch).width, (pixels / 32) ** 2
    return Work(megamacs(arch, width, pixels, classes) / 1000, wider * area, 1 / batch)


class _Measured(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Compiling(_Measured):
    """seconds: of compiling a network. ratio: a compiled training step over a plain one."""

    seconds: Positive
    ratio: Positive


class NetworkPace(_Measured):
    """One network at its paper quantization.

    gigamac, values, step: seconds of a training step for each unit of `Work`, fitted by least squares.
    residual: root mean square of the fit's relative errors. prediction: an image's forward pass over its
    training. node: seconds to load a network of the paper's width, and to pack and commit it; they grow with
    width². methods: what a pass of a method's epoch takes, over one of a plain epoch. compiling: None where it
    was not measured.
    """

    gigamac: Seconds
    values: Seconds
    step: Seconds
    residual: Seconds
    prediction: Seconds
    node: Seconds
    methods: Mapping[str, Positive]
    compiling: Compiling | None = None

    def seconds_per_image(self, done: Work) -> float:
        """Of training: forward, backward and update."""
        return self.gigamac * done.gigamacs + self.values * done.values + self.step * done.step


class AttackPace(_Measured):
    """The membership attack on a CPU: seconds at 10,000 + 10,000 samples, and the power of their number."""

    seconds: Positive
    power: Positive

    def at(self, samples: float) -> float:
        """Seconds for so many samples on each side."""
        return self.seconds * (samples / 10_000) ** self.power


class Pace(_Measured):
    """One training worker: a GPU, or one core of a CPU. measured: the date. words: where the numbers come from."""

    hardware: str
    device: Device
    measured: str
    torch: str
    dtype: str
    networks: Mapping[str, NetworkPace]
    attack: AttackPace
    words: str = ""

    def network(self, arch: str, pixels: int = 32) -> NetworkPace:
        """A network's pace; one that was never measured is taken for the first, by multiply-accumulates.

        Those are of an image of `pixels`², as not every network takes every size. What it gains from compiling nobody
        knows.
        """
        if arch in self.networks:
            return self.networks[arch]
        name, first = next(iter(self.networks.items()))
        own, firsts = (megamacs(each, model_info(each).width, pixels, 10) for each in (arch, name))
        share = own / firsts
        smaller = {field: share * getattr(first, field) for field in ("values", "node")}
        return first.model_copy(update={**smaller, "compiling": None})


class _File(_Measured):
    paces: Annotated[tuple[Pace, ...], Field(min_length=1)]


def read_paces(file: Path = FILE) -> tuple[Pace, ...]:
    """The measured paces, the newest last; BadInput if the file is not what the benchmarks write."""
    try:
        return _File.model_validate_json(file.read_text(encoding="utf-8")).paces
    except (OSError, ValidationError) as error:
        raise BadInput(
            f"{file.name}: {str(error).splitlines()[0]}; python -m tests.bench writes it"
        ) from error


def write_pace(pace: Pace, file: Path = FILE) -> None:
    """Puts a pace into the file, in the place of an older one of the same hardware and device."""
    others = read_paces(file) if file.exists() else ()
    kept = [p for p in others if (p.hardware, p.device) != (pace.hardware, pace.device)]
    document = _File(paces=tuple(sorted([*kept, pace], key=lambda p: p.measured)))
    file.write_text(document.model_dump_json(indent=1, exclude_defaults=True) + "\n", encoding="utf-8")


@lru_cache
def pace_of(device: Device, file: Path = FILE) -> Pace:
    """What to expect of a training worker.

    The machine's own GPU if it was measured, else the GPU measured last; before any was, the paper's.
    """
    found = [pace for pace in read_paces(file) if pace.device == device]
    if not found:
        return as_in_the_paper(pace_of("cpu", file))
    here = gpu_name() if device == "cuda" else None
    pace = next((p for p in found if p.hardware == here), found[-1])
    unit = "one core of " if device == "cpu" else ""
    words = f"at the pace of {unit}{pace.hardware}, measured on {pace.measured}"
    return pace.model_copy(update={"words": words})


def as_in_the_paper(cpu: Pace) -> Pace:
    """The paper's GPU: the one time it prints, and whatever that leaves open in a CPU's proportions."""
    done = image_work("resnet18", model_info("resnet18").width, 32, 256)
    factor = _PAPER_SECONDS_PER_IMAGE / cpu.network("resnet18").seconds_per_image(done)
    faster = {
        arch: pace.model_copy(
            update={name: factor * getattr(pace, name) for name in ("gigamac", "values", "step")}
            | {"compiling": None}
        )
        for arch, pace in cpu.networks.items()
    }
    words = (
        f"at the pace of the paper's {_PAPER_GPU}, methods and MobileNetV2 in proportion as on {cpu.hardware}"
    )
    changes = {"hardware": _PAPER_GPU, "device": "cuda", "dtype": "unknown", "networks": faster}
    return cpu.model_copy(update=changes | {"words": words})
