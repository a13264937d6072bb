"""Amnesiac unlearning, whole and partial: take back what training on the forgotten images did.

While the original trains, the update of every batch that holds an image to forget is recorded; to forget, the
recorded updates are subtracted (Graves et al. 2021). The partial form keeps only a fraction ρ of each layer's
entries, those that moved most (Gogineni, Nadimi: Layer-wise Partial Machine Unlearning).

With momentum an update also holds part of what earlier batches did, and taking it back from a network that
has moved on since is right to first order only: both belong to the method.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Annotated, Literal

from pydantic import Field

from core import quant
from core.data import Batch, batches
from core.errors import BadInput, Diverged
from core.lazy import Tensor, nn, no_grad, torch
from core.train import LearningRate, OnEpoch, Params, TrainParams, fit
from core.unlearn.base import Method, Problem
from core.unlearn.gathered import gathered
from core.unlearn.hooks import Hook, Part, Setting, Training, chosen
from core.unlearn.parameters import moved_parameters
from core.unlearn.partial import largest

COUNTS, SUM, INDEX, VALUE, ENDS = "counts", "sum.", "index.", "value.", "ends."
ENTRY_BYTES = 8  # of a recorded entry kept by itself: its position as int32, its change as float32


class AmnesiacParams(Params):
    """Options; the documents leave most of them open.

    fraction: ρ, the share of each layer's entries that are recorded; 1 is amnesiac unlearning as first published.
    selection: the entries that moved most, or random ones.
    affected: share of an epoch's batches into which the images to forget are gathered; None leaves them where
    shuffling puts them, which with large batches is nearly everywhere (1 - (1 - q)^B of them at a share q).
    storage: sum keeps the sum of all records, which is enough for a request that is known. batches keeps
    each batch's entries, sparse.
    record_quantizers: record steps and offsets too.
    tune_epochs, tune_lr: brief fine-tuning on the retain set afterwards, as first published; 0 epochs do none.
    """

    fraction: Annotated[float, Field(ge=0, le=1)] = 1.0
    selection: Literal["topk", "random"] = "topk"
    affected: Annotated[float, Field(gt=0, le=1)] | None = None
    storage: Literal["sum", "batches"] = "sum"
    record_quantizers: bool = False
    tune_epochs: Annotated[int, Field(ge=0)] = 0
    tune_lr: LearningRate = 0.01


class Recorder(Part):
    """Records the updates of the batches that hold a sensitive image."""

    def __init__(self, training: Training, setting: Setting) -> None:
        if training.sensitive is None:
            raise BadInput("amnesiac: the training must know which images will be forgotten")
        super().__init__(training)
        self.setting, self.sensitive_N = setting, training.sensitive
        self.moved = moved_parameters(training.model, setting["record_quantizers"])
        self._before: list[Tensor] | None = None
        self._own = training.draws(-1)
        self._counts = [0, 0, 0]  # batches, affected ones, recorded entries
        self._sums = {name: torch.zeros(p.numel(), device=p.device) for name, p in self.moved.items()}
        self._parts: dict[str, list[tuple[Tensor, Tensor]]] = {name: [] for name in self.moved}

    def batches(self, epoch: int, generator: torch.Generator) -> Iterator[Batch]:
        """The usual batches; before one that holds a sensitive image the parameters are noted."""
        training, size = self.training, self.training.batch_size
        self._own = training.draws(epoch)
        order_N = torch.randperm(len(training.images), generator=generator)
        if self.setting["affected"] is not None:
            order_N = gathered(order_N, self.sensitive_N, size, self.setting["affected"], self._own)
        passes = batches(training.images, size, training.augment, generator, order_N=order_N)
        for number, batch in enumerate(passes):
            affected = bool(self.sensitive_N[order_N[number * size : (number + 1) * size]].any())
            self._counts[0] += 1
            self._before = [p.detach().clone() for p in self.moved.values()] if affected else None
            yield batch

    @no_grad
    def on_update(self) -> None:
        """Records the update if its batch is affected."""
        if self._before is None:
            return
        self._counts[1] += 1
        for (name, parameter), before in zip(self.moved.items(), self._before, strict=True):
            change = (parameter - before).flatten()
            index = kept_entries(change, self.setting["fraction"], self.setting["selection"], self._own)
            self._counts[2] += len(index)
            if self.setting["storage"] == "sum":
                self._sums[name].index_add_(0, index, change[index])
            else:
                self._parts[name].append((index.to(torch.int32), change[index]))
        self._before = None

    def kept(self) -> dict[str, Tensor]:
        """Counts of batches, affected batches and recorded entries; flat sums, or the entries of every batch."""
        found = {COUNTS: torch.tensor(self._counts)}
        if self.setting["storage"] == "sum":
            return found | {SUM + name: t for name, t in self._sums.items()}
        for name, parts in self._parts.items():
            if parts:
                ends = torch.tensor([len(index) for index, _ in parts]).cumsum(0)
                index, value = (torch.cat(each) for each in zip(*parts, strict=True))
                found |= {INDEX + name: index, VALUE + name: value, ENDS + name: ends}
        return found

    def remembered(self) -> dict[str, Tensor]:
        """All that was recorded."""
        return self.kept()

    def recall(self, tensors: dict[str, Tensor]) -> None:
        """Takes it back."""
        self._counts = [int(n) for n in tensors[COUNTS]]
        for name, parameter in self.moved.items():
            if SUM + name in tensors:
                self._sums[name] = tensors[SUM + name].to(parameter.device)
            elif INDEX + name in tensors:
                cuts = tensors[ENDS + name][:-1].cpu()
                index, value = (tensors[key + name].to(parameter.device) for key in (INDEX, VALUE))
                both = (each.tensor_split(cuts) for each in (index, value))
                self._parts[name] = list(zip(*both, strict=True))


def kept_entries(change_n: Tensor, fraction: float, selection: str, own: torch.Generator) -> Tensor:
    """Positions of the ceil(fraction n) entries of one layer that are recorded: the largest, or random ones."""
    scores_n = torch.rand(change_n.shape, generator=own) if selection == "random" else change_n.abs()
    return largest(scores_n, fraction).to(change_n.device)


def amnesiac(
    problem: Problem, params: AmnesiacParams, generator: torch.Generator, on_epoch: OnEpoch | None = None
) -> nn.Module:
    """Subtracts what was recorded, then fine-tunes on the retain set if asked to.

    Tells the share of batches that were affected, the recorded entries and the bytes that those take batch by batch
    (storage=batches), which a request that nobody knows yet needs; storage=sum makes do with one number per entry of
    the network. BadInput if the original's training was not recorded.
    """
    if COUNTS not in problem.kept:
        raise BadInput("amnesiac: the training of this original was not recorded")
    model = copy.deepcopy(problem.model).eval()
    norm = subtract_(model, problem.kept)
    total, affected, entries = problem.kept[COUNTS].tolist()
    if on_epoch is not None:
        share = affected / total if total else 0.0
        recorded = {"recorded_entries": float(entries), "recorded_bytes": float(ENTRY_BYTES * entries)}
        on_epoch(0, {"update_norm": norm, "affected_share": share, **recorded})
    if params.tune_epochs == 0:
        return model
    return fit(
        model,
        lambda _epoch: batches(problem.retain, params.batch_size, problem.augment, generator),
        TrainParams(epochs=params.tune_epochs, lr=params.tune_lr, batch_size=params.batch_size),
        generator,
        callbacks=replace(problem.callbacks, checkpoints=None),
        on_epoch=None if on_epoch is None else lambda epoch, facts: on_epoch(epoch + 1, facts),
    )


@no_grad
def subtract_(model: nn.Module, kept: Mapping[str, Tensor]) -> float:
    """θ ← θ - Σ_b Δ_b in place; returns the norm of the sum. Diverged if that is not finite."""
    squares = []
    for name, parameter in model.named_parameters():
        total = _total(name, parameter, kept)
        if total is not None:
            parameter.sub_(total)
            squares.append(total.double().square().sum())
    norm = math.sqrt(float(torch.stack(squares).sum())) if squares else 0.0
    if not math.isfinite(norm):
        raise Diverged("the recorded updates are not finite")
    quant.keep_valid_(model)
    return norm


def _total(name: str, parameter: Tensor, kept: Mapping[str, Tensor]) -> Tensor | None:
    """The sum of a parameter's recorded updates; None where nothing was recorded."""
    if SUM + name in kept:
        return kept[SUM + name].view(parameter.shape)
    if INDEX + name not in kept:
        return None
    total = torch.zeros(parameter.numel(), device=parameter.device)
    return total.index_add_(0, kept[INDEX + name].long(), kept[VALUE + name]).view(parameter.shape)


METHOD = Method(
    "amnesiac",
    "Amnesiac",
    AmnesiacParams,
    lambda _arch: {},  # nothing to search: the training decides
    amnesiac,
    hook=Hook(
        chosen("fraction", "selection", "affected", "storage", "record_quantizers"),
        Recorder,
        knows_forget=True,
    ),
    passes=lambda p, _forget, retain: 100.0 + p["tune_epochs"] * retain,
)
