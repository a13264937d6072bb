"""The signature that every method shares, and the values that go through it."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Protocol, TypeVar

from pydantic import Field

from core.data import Images, Scenario, Transform
from core.errors import BadInput
from core.lazy import Tensor, nn, torch
from core.train import NO_CALLBACKS, Callbacks, OnEpoch, Params, TrainParams
from core.unlearn.hooks import Hook
from core.unlearn.passes import Passes, both_sets
from core.unlearn.shared import Shared

T = TypeVar("T")
BOTH: frozenset[Scenario] = frozenset({"random", "class"})
CLASS_WISE: frozenset[Scenario] = frozenset({"class"})


class UnlearnParams(TrainParams):
    """What every iterative unlearning method shares beside the loop.

    probe: before every epoch, tell the gradient norms of the first `probe` images of each set, see
    `core.unlearn.gradient_norms.gradient_probe`; 0 measures nothing. The result is the same either way.
    """

    probe: Annotated[int, Field(ge=0)] = 0


@dataclass(frozen=True)
class Problem:
    """One request to forget.

    model: the original, in eval mode, never modified (Retrain reads its architecture only).
    forget, retain: device-resident images and labels.
    classes: number of classes.
    augment: normalisation and training augmentation of this dataset.
    device: where all of the above lives.
    callbacks: what surrounds the method's training, for `core.train.loop.fit`.
    shared: what other trials on this problem computed already; None where there are none.
    kept: what the method's hook left beside the original, on the device, see `core.unlearn.hooks`.
    pretrained: for Retrain, whose model then has the weights of the file that its original started from.
    positions: of the images to forget and to retain, where each was among the images that the original was trained
    on, int64 on the CPU; -1 for one that was not. None: they were the images to forget, then those to retain.
    """

    model: nn.Module
    forget: Images
    retain: Images
    classes: int
    augment: Transform
    device: torch.device
    callbacks: Callbacks = NO_CALLBACKS
    shared: Shared | None = None
    kept: Mapping[str, Tensor] = field(default_factory=dict)
    pretrained: bool = False
    positions: tuple[Tensor, Tensor] | None = None

    def trained_at(self) -> tuple[Tensor, Tensor]:
        """Positions of the images to forget and to retain in the original's training, see `positions`."""
        if self.positions is not None:
            return self.positions
        count = len(self.forget)
        return torch.arange(count), torch.arange(count, count + len(self.retain))

    def once(self, key: Hashable, compute: Callable[[], T]) -> T:
        """What follows from this problem and the key alone, see `Shared.once`."""
        return compute() if self.shared is None else self.shared.once(key, compute)

    def lost_classes(self) -> list[int]:
        """The classes of which no image is retained, ascending; empty in random forgetting."""
        kept_K = torch.bincount(self.retain.labels, minlength=self.classes)
        return [label for label, count in enumerate(kept_K.tolist()) if count == 0]

    def whole_classes(self, title: str) -> list[int]:
        """The classes to forget, ascending, for a method by this title that can forget nothing but whole ones.

        Raises BadInput if an image to forget is of a class of which others are retained.
        """
        lost = self.lost_classes()
        whole = torch.isin(self.forget.labels, torch.tensor(lost, device=self.forget.labels.device))
        if not bool(whole.all()):
            raise BadInput(
                f"{title} forgets whole classes, and {int((~whole).sum())} of {len(whole)} images to forget are of"
                " classes that are retained: forget a class (classes=0, ratios=[]), or leave the method out"
            )
        asked = set(self.forget.labels.tolist())
        return [label for label in lost if label in asked]


@dataclass(frozen=True)
class Range:
    """A search range; `log` means spaced evenly in the logarithm, `whole` that only whole numbers count."""

    low: float
    high: float
    log: bool = True
    whole: bool = False

    def at(self, share: float) -> float:
        """The value at a share (0-1) of the way from low to high."""
        if self.log:
            found = float(self.low * (self.high / self.low) ** share)
        else:
            found = self.low + (self.high - self.low) * share
        return round(found) if self.whole else found


@dataclass(frozen=True)
class Choice:
    """Values to choose among, in their order."""

    values: tuple[Any, ...]

    def at(self, share: float) -> Any:
        """The value at a share (0-1) of the way from the first to the last."""
        return self.values[min(int(share * len(self.values)), len(self.values) - 1)]


Space = Mapping[str, Range | Choice]  # what a search goes through, by hyper-parameter


class Run(Protocol):
    """Returns an unlearned model; randomness comes from the generator (on the CPU) alone."""

    def __call__(  # noqa: D102
        self, problem: Problem, params: Any, generator: torch.Generator, on_epoch: OnEpoch | None = None
    ) -> nn.Module: ...


@dataclass(frozen=True)
class Method:
    """An unlearning method: name, title for tables, hyper-parameters, published ranges and the function.

    released: the option values that make the method do what the published code does where that differs
    from the equations. revision: raised when a change makes old results incomparable. scenarios: what it can
    forget: any images (a random share or a list), whole classes, or either; it refuses anything else by BadInput.
    hook: how it takes part in the training of its original; None for one that takes any.
    passes: what a run costs, see `core.unlearn.passes`.
    facts: names of what it tells of a request by `on_epoch`; each is a column of its rows.
    colour, mark: in charts, as #rrggbb and as Vega's shape; None for the next ones of the common palette.
    """

    name: str
    title: str
    params: type[Params]
    space: Callable[[str], dict[str, Range]]
    run: Run
    released: Mapping[str, Any] = field(default_factory=dict)
    revision: int = 1
    scenarios: frozenset[Scenario] = BOTH
    hook: Hook | None = None
    passes: Passes = both_sets
    facts: tuple[str, ...] = ()
    colour: str | None = None
    mark: str | None = None


def lr_range(low: float, high: float) -> Callable[[str], dict[str, Range]]:
    """The same learning-rate range for every architecture."""
    return lambda _arch: {"lr": Range(low, high)}
