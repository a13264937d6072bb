"""The signature that every method shares, and the values that go through it."""

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Protocol, TypeVar

import torch
from pydantic import Field
from torch import nn

from core.data.loader import Images, Transform
from core.forward import Forward, plain
from core.resume import Checkpoints
from core.train import AfterEpoch, OnEpoch, Params, TrainParams
from core.unlearn.shared import Shared

T = TypeVar("T")


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
    checkpoints: where a training leaves its state between epochs, and may be told to pause.
    forward: how logits are computed in training.
    after_epoch: what is measured of the model after every epoch, see `core.train.fit`.
    shared: what other trials on this problem computed already; None where there are none.
    """

    model: nn.Module
    forget: Images
    retain: Images
    classes: int
    augment: Transform
    device: torch.device
    checkpoints: Checkpoints | None = None
    forward: Forward = plain
    after_epoch: AfterEpoch | None = None
    shared: Shared | None = None

    def once(self, key: Hashable, compute: Callable[[], T]) -> T:
        """What follows from this problem and the key alone, see `Shared.once`."""
        return compute() if self.shared is None else self.shared.once(key, compute)


@dataclass(frozen=True)
class Range:
    """A published search range; `log` means spaced evenly in the logarithm."""

    low: float
    high: float
    log: bool = True

    def at(self, share: float) -> float:
        """The value at a share (0-1) of the way from low to high."""
        if self.log:
            return float(self.low * (self.high / self.low) ** share)
        return self.low + (self.high - self.low) * share


class Run(Protocol):
    """Returns an unlearned model; randomness comes from the generator (on the CPU) alone."""

    def __call__(  # noqa: D102
        self, problem: Problem, params: Any, generator: torch.Generator, on_epoch: OnEpoch | None = None
    ) -> nn.Module: ...


@dataclass(frozen=True)
class Method:
    """An unlearning method: name, title for tables, hyper-parameters, published ranges and the function.

    released: the option values that make the method do what the published code does where that differs
    from the equations. revision: raised when a change makes old results incomparable.
    """

    name: str
    title: str
    params: type[Params]
    space: Callable[[str], dict[str, Range]]
    run: Run
    released: Mapping[str, Any] = field(default_factory=dict)
    revision: int = 1


def lr_range(low: float, high: float) -> Callable[[str], dict[str, Range]]:
    """The same learning-rate range for every architecture."""
    return lambda _arch: {"lr": Range(low, high)}
