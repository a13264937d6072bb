"""How a method takes part in the training of the original that it will later have to change.

Most methods take any trained network. Some need one that was trained for them: with a code for each class
(mnemonic), or while its updates were recorded (amnesiac). Such a method has a `Hook`. An original is then
trained once for each setting of the hook, by the same loop and from the same random numbers as any other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from core.data import Batch, Images, Transform
from core.lazy import Tensor, nn, torch
from core.train import Memory

Setting = Mapping[str, Any]


@dataclass(frozen=True)
class Training:
    """A training as its participant sees it.

    model: what is trained, in place, and not yet initialised. images: what it is trained on. augment: their
    normalisation and augmentation. classes: number of classes. batch_size: images of a batch.
    sensitive: bool N on the CPU, the images that will have to be forgotten; None where nobody knows them yet.
    seed: of the participant's own draws. It draws from nothing else, so that a participant that changes
    nothing leaves a training as it is.
    """

    model: nn.Module
    images: Images
    augment: Transform
    classes: int
    batch_size: int
    seed: int
    sensitive: Tensor | None = None

    def draws(self, epoch: int) -> torch.Generator:
        """A CPU generator for an epoch's draws, the same after a resumption."""
        return torch.Generator().manual_seed((self.seed + epoch + 1) % 2**63)


class Participant(Memory, Protocol):
    """A method's part in one training. As a Memory it goes on bit for bit where a training was cut off."""

    def batches(self, epoch: int, generator: torch.Generator) -> Iterator[Batch]:
        """An epoch's batches in the place of `core.data.loader.batches`, on the same draws from the generator."""
        ...

    def on_update(self) -> None:
        """Called after every update of the network."""
        ...

    def kept(self) -> dict[str, Tensor]:
        """What the method will find beside the original, see `Problem.kept`."""
        ...


@dataclass(frozen=True)
class Hook:
    """What a method needs of the original's training.

    setting: the hyper-parameters that the training depends on, out of all of the method's.
    start: the method's part in one training.
    knows_forget: whether it must know what will be forgotten, so that every forget set has its own original.
    """

    setting: Callable[[Any], Setting]
    start: Callable[[Training, Setting], Participant]
    knows_forget: bool = False


def chosen(*names: str) -> Callable[[Any], Setting]:
    """The setting made of the named hyper-parameters."""
    return lambda params: params.model_dump(mode="json", include=set(names))
