"""What a grid's fields are made of: lists as a command line writes them, and its nested parts."""

import re
from collections.abc import Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from core.errors import BadInput
from core.metrics.audit import ATTACKS, all_scores


def listed(value: object) -> object:
    """A single value stands for a list of one; text is split at commas, as a command line writes lists."""
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return (value,) if isinstance(value, int | float) else value


_SPAN = re.compile(r"(\d+)\s*(?:-|\.\.)\s*(\d+)")  # 1-3 and 1..3 are 1, 2, 3
_LONGEST_SPAN = 100_000


def _counted(value: object) -> object:
    """Whole numbers as `listed`, among which a span of them stands for each."""
    found = listed(value)
    return tuple(n for part in found for n in _span(part)) if isinstance(found, tuple | list) else found


def _span(part: object) -> Sequence[object]:
    match = _SPAN.fullmatch(part.strip()) if isinstance(part, str) else None
    if match is None:
        return (part,)
    first, last = (int(number[:20]) for number in match.groups())
    if not first <= last < first + _LONGEST_SPAN:
        raise BadInput(
            f"'{part}' is no span of numbers; write the smaller first, at most {_LONGEST_SPAN:,} of them"
        )
    return range(first, last + 1)


def _visible(text: str) -> str:
    if _INVISIBLE.search(text):
        raise BadInput(f"{text!r} holds a sign that no name or path can have")
    return text


def _plain(value: object) -> object:
    return {"train": value, "test": value} if isinstance(value, int) else value


def once(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """Every value once: a second run of a seed would be the first one again, and no repetition."""
    return tuple(dict.fromkeys(values))


Ratios = Annotated[
    tuple[Annotated[float, Field(gt=0, lt=1)], ...], BeforeValidator(listed), AfterValidator(once)
]
Count = Annotated[int, Field(ge=1, le=10**9)]
Whole = Annotated[int, Field(ge=0, le=10**9)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Seeds = Annotated[tuple[Seed, ...], BeforeValidator(_counted), AfterValidator(once)]
Wholes = Annotated[tuple[Whole, ...], BeforeValidator(_counted), AfterValidator(once)]
_INVISIBLE = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
Text = Annotated[str, AfterValidator(_visible)]
Names = Annotated[tuple[Text, ...], BeforeValidator(listed), Field(min_length=1), AfterValidator(once)]


class Part(BaseModel):
    """What every part of a grid is: frozen, without unknown fields, with finite numbers."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class LimitSpec(Part):
    """Images kept of each split, drawn evenly over the classes; a plain number holds for both."""

    train: Count | None = None
    test: Count | None = None


class DataSpec(Part):
    """root: where the data sets lie. cache: where decoded images go. limit: a smaller grid.

    download: fetch what is missing. augment: crop and flip while training. test_share: share of the training images
    that becomes the test split of a data set without one, the same images for every seed.
    digests: SHA-256 of the decoded images by data set, for those that are known by no publisher: two folders of one
    name are two data sets. Found out where the images lie; where only workers have them, it may be given.
    """

    root: Text | None = None
    cache: Text | None = None
    limit: Annotated[LimitSpec, BeforeValidator(_plain)] | None = None
    download: bool = False
    augment: bool = True
    test_share: Annotated[float, Field(gt=0, lt=1)] | None = None
    digests: dict[str, Annotated[str, Field(pattern="^[0-9a-f]{64}$")]] = Field(default_factory=dict)


class SearchSpec(Part):
    """How hyper-parameters are searched. trials: per cell, the same for every method.

    mode: grid runs every trial to its end. halving compares all trials after a few epochs and goes on with the
    better ones. asha and optuna are Ray Tune's: asha stops a trial that falls behind those before it; optuna
    does so too, and chooses each trial by what the earlier ones gave (TPE).
    ranges: what is searched, by method and hyper-parameter, where it is not the published range; see
    `orchestrator.spec.ranges`.
    first_epochs: epochs before trials are first compared. reduction: by how many times the epochs grow, and the
    trials become fewer, from one comparison to the next.
    """

    mode: Literal["grid", "halving", "asha", "optuna"] = "grid"
    trials: Annotated[int, Field(ge=1, le=10_000)] = 8
    first_epochs: Annotated[int, Field(ge=1, le=1_000_000)] = 2
    reduction: Annotated[int, Field(ge=2, le=1_000)] = 2
    ranges: dict[str, dict[str, Any]] = Field(default_factory=dict)


class AuditSpec(Part):
    """Whether networks really forgot, see `core.metrics.audit`.

    models: so many unlearned and retrained models of each method, the cell's own among them; even, 0 for no audit.
    attacks: all unless named. seeds: whose cells are audited, the grid's first unless named.
    """

    models: Annotated[int, Field(ge=0, le=10_000)] = 0
    attacks: Annotated[tuple[Text, ...], BeforeValidator(listed), AfterValidator(once)] = ()
    seeds: Seeds = ()

    @model_validator(mode="after")
    def _enough(self) -> Self:
        names = self.attacks or tuple(ATTACKS)
        all_scores(names)
        if not self.models and (self.attacks or self.seeds):
            raise BadInput("an audit needs models: set audit.models=16")
        if self.models % 2:
            raise BadInput(
                f"audit.models={self.models}: every image is in for one model of a pair; set audit.models="
                f"{self.models + 1}"
            )
        for name in names if self.models else ():
            if self.models < ATTACKS[name].least:
                raise BadInput(
                    f"audit.models={self.models}: {name} needs at least {ATTACKS[name].least}; set "
                    f"audit.models={ATTACKS[name].least}, or audit.attacks without it"
                )
        return self


class ExportSpec(Part):
    """evaluate: measure FA, RA, TA and MIA again on every cell's network as an ONNX file, run by onnxruntime."""

    evaluate: bool = False


class TrackingSpec(Part):
    """uri: an MLflow server, else a SQLite file in the store. enabled: false leaves MLflow alone."""

    uri: Text | None = None
    enabled: bool = True


class ResourceSpec(Part):
    """device: auto, cpu or cuda. gpus_per_slot: 0.5 packs two trials on a GPU, unseen. slots: an upper bound.

    trials_per_gpu: so many trials at most share a GPU, as many as fit it by the memory that others of their kind
    were measured to need; one that nobody has measured has a GPU to itself. Trials on one GPU share its compute
    too: what they gain was never measured, and their times are not those of a GPU of one's own, so the default is 1.
    asha and optuna do not share GPUs.
    threads: CPU threads of a training node. Results repeat bit by bit for the same number of threads.
    checkpoint_epochs: epochs between two states that a training leaves in the store, to go on from after a loss.
    compile: whether networks train compiled: on, off, or auto, where the grid is so large that it pays.
    evaluators: processes that evaluate beside the training with `--executor inline`; unless set, a few on a GPU.
    """

    device: Literal["auto", "cpu", "cuda"] = "auto"
    gpus_per_slot: Annotated[float, Field(gt=0, le=1_000)] = 1.0
    trials_per_gpu: Annotated[int, Field(ge=1, le=1_000)] = 1
    slots: Annotated[int, Field(ge=1, le=100_000)] | None = None
    threads: Annotated[int, Field(ge=1, le=1_000)] = 1
    checkpoint_epochs: Count = 10
    compile: Literal["auto", "on", "off"] = "auto"
    evaluators: Annotated[int, Field(ge=0, le=1_000)] | None = None

    @model_validator(mode="after")
    def _shared_one_way(self) -> Self:
        if self.trials_per_gpu > 1 and self.gpus_per_slot != 1:
            raise BadInput(
                f"trials_per_gpu={self.trials_per_gpu} contradicts gpus_per_slot={self.gpus_per_slot:g}: "
                "GPUs are shared by measured memory or by a fixed share; set gpus_per_slot=1"
            )
        return self
