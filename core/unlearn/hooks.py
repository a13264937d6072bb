"""How a method takes part in the training of the original that it will later have to change.

Most methods take any trained network. Some need one that was trained for them: with a code for each class
(mnemonic), while its updates were recorded (amnesiac), or as several networks behind one door (sisa). Such a method
has a `Hook`. An original is then trained once for each setting of the hook, by the same loop and from the same random
numbers as any other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from core.data import Batch, Images, Transform, batches
from core.lazy import Tensor, nn, torch
from core.train import Memory, TrainParams, cross_entropy
from core.unlearn.fresh import start_

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

    def prepare(self, generator: torch.Generator, pretrained: bool) -> None:
        """Initialises and calibrates the network, as `core.unlearn.fresh.start_` does."""
        ...

    def planned(self, params: TrainParams) -> TrainParams:
        """The loop's hyper-parameters, from those that were asked for; called before anything else."""
        ...

    def on_optimizer(self, optimizer: torch.optim.SGD) -> None:
        """Called once with the optimizer, before the first step."""
        ...

    def batches(self, epoch: int, generator: torch.Generator) -> Iterator[Batch]:
        """An epoch's batches in the place of `core.data.loader.batches`, on the same draws from the generator."""
        ...

    def loss(self, logits_BK: Tensor, batch: Batch) -> Tensor:
        """What the training minimises, from float32 logits."""
        ...

    def on_update(self) -> None:
        """Called after every update of the network."""
        ...

    def finish(self, model: nn.Module) -> None:
        """Called once with the trained network in eval mode, after the last step; may change it."""
        ...

    def kept(self) -> dict[str, Tensor]:
        """What the method will find beside the original, see `Problem.kept`; asked for after `finish`."""
        ...


class Part:
    """A participant that changes nothing: the base of those that change something."""

    def __init__(self, training: Training) -> None:
        self.training = training

    def prepare(self, generator: torch.Generator, pretrained: bool) -> None:
        """As any training begins."""
        t = self.training
        start_(t.model, t.images, t.augment, t.batch_size, generator, pretrained=pretrained)

    def planned(self, params: TrainParams) -> TrainParams:
        """Those that were asked for."""
        return params

    def on_optimizer(self, optimizer: torch.optim.SGD) -> None:
        """Nothing to do."""

    def batches(self, epoch: int, generator: torch.Generator) -> Iterator[Batch]:  # noqa: ARG002
        """The usual ones."""
        return batches(self.training.images, self.training.batch_size, self.training.augment, generator)

    def loss(self, logits_BK: Tensor, batch: Batch) -> Tensor:
        """Cross-entropy."""
        return cross_entropy(logits_BK, batch)

    def on_update(self) -> None:
        """Nothing to do."""

    def finish(self, model: nn.Module) -> None:
        """Nothing to do."""

    def kept(self) -> dict[str, Tensor]:
        """Nothing."""
        return {}

    def remembered(self) -> dict[str, Tensor]:
        """Nothing: what there is follows from the seed."""
        return {}

    def recall(self, tensors: dict[str, Tensor]) -> None:
        """Nothing to take back."""


@dataclass(frozen=True)
class Hook:
    """What a method needs of the original's training.

    setting: the hyper-parameters that the training depends on, out of all of the method's.
    start: the method's part in one training.
    knows_forget: whether it must know what will be forgotten, so that every forget set has its own original.
    build: the network that is trained, loaded and unlearned in the place of an architecture's, which it may take in or
    change; None for the architecture's own.
    """

    setting: Callable[[Any], Setting]
    start: Callable[[Training, Setting], Participant]
    knows_forget: bool = False
    build: Callable[[nn.Module, Setting], nn.Module] | None = None

    def built(self, model: nn.Module, setting: Setting) -> nn.Module:
        """The network that the method's originals have, made of an architecture's, which may be used up."""
        return model if self.build is None else self.build(model, setting)


def chosen(*names: str) -> Callable[[Any], Setting]:
    """The setting made of the named hyper-parameters."""
    return lambda params: params.model_dump(mode="json", include=set(names))
