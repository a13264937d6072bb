"""The one training loop: SGD with momentum, cosine learning rate, quantizers kept valid after every step."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import TypeAlias

from core import quant
from core.data import Batch
from core.errors import Diverged
from core.lazy import F, Tensor, nn, torch
from core.train.forward import Forward, fixed_size, plain
from core.train.params import TrainParams
from core.train.precision import autocast
from core.train.state import Checkpoints, Memory, pack_state, restore_state_

EpochFacts = dict[str, float]
OnEpoch = Callable[[int, EpochFacts], None]
AfterEpoch: TypeAlias = "Callable[[nn.Module], EpochFacts]"


@dataclass(frozen=True)
class Callbacks:
    """What surrounds a training and leaves its result as it is.

    checkpoints: where the state is left every few epochs and taken up again; may end the training before its last
    epoch, on the learning rates of the whole. forward: how logits are computed, for batches of the usual size.
    after_epoch: called with the model after an epoch's last step; what it returns is told with the epoch's facts.
    Must change nothing of the model but its mode, and draw nothing. after_batch: called after every step with the
    number of images in its batch; an accelerator may still be at work on them.
    """

    checkpoints: Checkpoints | None = None
    forward: Forward = plain
    after_epoch: AfterEpoch | None = None
    after_batch: Callable[[int], None] | None = None


NO_CALLBACKS = Callbacks()


def cosine_lr(lr: float, epoch: int, epochs: int) -> float:
    """Learning rate of an epoch: lr at 0, annealed towards 0 and never there (T_max = epochs)."""
    return lr * (1 + math.cos(math.pi * epoch / epochs)) / 2


def triangle_lr(lr: float, epoch: int, epochs: int) -> float:
    """Learning rate of an epoch: up to lr in the first half of the epochs, down after it, never 0."""
    rising = (epochs + 1) // 2
    return lr * min((epoch + 1) / rising, (epochs - epoch) / (epochs + 1 - rising))


def epoch_lr(params: TrainParams, epoch: int) -> float:
    """Learning rate of an epoch by the schedule: cosine, triangle, or the same in all epochs (constant)."""
    if params.schedule == "constant":
        return params.lr
    falling = cosine_lr if params.schedule == "cosine" else triangle_lr
    return falling(params.lr, epoch, params.epochs)


def cross_entropy(logits_BK: Tensor, batch: Batch) -> Tensor:
    """Mean cross-entropy; with weights, eq. (13): the weighted sum divided by the number of samples."""
    if batch.weights is None:
        return F.cross_entropy(logits_BK, batch.labels)
    return (F.cross_entropy(logits_BK, batch.labels, reduction="none") * batch.weights).mean()


def fit(
    model: nn.Module,
    epoch_batches: Callable[[int], Iterable[Batch]],
    params: TrainParams,
    generator: torch.Generator,
    *,
    loss: Callable[[Tensor, Batch], Tensor] = cross_entropy,
    on_optimizer: Callable[[torch.optim.SGD], None] | None = None,
    on_gradient: Callable[[int], None] | None = None,
    on_update: Callable[[], None] | None = None,
    epoch_facts: Callable[[int], EpochFacts] | None = None,
    on_epoch: OnEpoch | None = None,
    memory: Memory | None = None,
    callbacks: Callbacks = NO_CALLBACKS,
    first: int = 0,
) -> nn.Module:
    """Trains the model in place and returns it in eval mode.

    Args:
        model: on its device, quantizers calibrated.
        epoch_batches: the batches of an epoch, by its number; may leave the model in any mode.
        params: the loop's hyper-parameters.
        generator: CPU generator; seeds layers that draw numbers themselves (dropout).
        loss: scalar from float32 logits and batch.
        on_optimizer: called once with the optimizer, before a saved state is taken up.
        on_gradient: called with the epoch after every backward pass; may edit gradients.
        on_update: called after every optimizer step; may edit parameters.
        epoch_facts: called with the epoch once its batches are prepared and before its first step; what it
            returns is told with the epoch's facts. May leave the model in any mode.
        on_epoch: called with the epoch's number and facts: mean loss and learning rate.
        memory: what `epoch_batches` remembers from one epoch to the next, beside what follows from the
            generator and the model.
        callbacks: what surrounds the training.
        first: the epoch to begin with, on the learning rates of the whole training.

    Raises Diverged when an epoch's mean loss is not finite.
    """
    optimizer = sgd(model, params)
    if on_optimizer is not None:
        on_optimizer(optimizer)
    checkpoints, after_epoch = callbacks.checkpoints, callbacks.after_epoch
    last = params.epochs if checkpoints is None else min(checkpoints.until or params.epochs, params.epochs)
    update = _Update(model, optimizer, params, loss, on_gradient, on_update, callbacks.forward)
    with _seeded_layers(generator, next(model.parameters()).device):
        saved = checkpoints.load() if checkpoints is not None else None
        past = [] if saved is None else restore_state_(saved, model, optimizer, generator, memory)
        for epoch, facts in enumerate(past, first):
            if on_epoch is not None:
                on_epoch(epoch, facts)
        for epoch in range(first + len(past), last):
            lr = epoch_lr(params, epoch)
            passes = _counted(epoch_batches(epoch), callbacks.after_batch)
            measured = {} if epoch_facts is None else epoch_facts(epoch)
            model.train()
            losses = [update(batch, epoch, lr) for batch in passes]
            mean = float(torch.stack(losses).mean())  # the epoch's only host synchronisation
            if not math.isfinite(mean):
                raise Diverged(_divergence(mean, epoch, lr, params))
            seen = {} if after_epoch is None else after_epoch(model)
            past.append({"loss": mean, "lr": lr} | measured | seen)
            if on_epoch is not None:
                on_epoch(epoch, past[-1])
            done = epoch + 1
            pauses = done == last < params.epochs
            if checkpoints is not None and (pauses or (done < last and done % checkpoints.every == 0)):
                checkpoints.save(done, pack_state(model, optimizer, generator, past, memory))
    return model.eval()


def _counted(batches: Iterable[Batch], after_batch: Callable[[int], None] | None) -> Iterable[Batch]:
    """The batches as they are; each is counted once its step is taken."""
    for batch in batches:
        yield batch
        if after_batch is not None:
            after_batch(len(batch.labels))


def _divergence(loss: float, epoch: int, lr: float, params: TrainParams) -> str:
    return f"loss is {loss} in epoch {epoch + 1} of {params.epochs} at learning rate {lr:.3g}"


class _Update:
    """One optimizer step, with everything that stays the same over a run."""

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.SGD,
        params: TrainParams,
        loss: Callable[[Tensor, Batch], Tensor],
        on_gradient: Callable[[int], None] | None,
        on_update: Callable[[], None] | None,
        forward: Forward,
    ) -> None:
        self.model, self.optimizer, self.params, self.loss = model, optimizer, params, loss
        self.on_gradient, self.on_update = on_gradient, on_update
        self.forward = fixed_size(forward, params.batch_size)
        self.guard = None if params.step_trust is None else quant.StepGuard(model, params.step_trust)

    def __call__(self, batch: Batch, epoch: int, lr: float) -> Tensor:
        """Returns the detached loss without waiting for it."""
        self.optimizer.zero_grad(set_to_none=True)
        with autocast(batch.images.device, self.params.precision):
            logits = self.forward(self.model, batch.images)
        value = self.loss(logits.float(), batch)
        value.backward()  # type: ignore[no-untyped-call]
        if self.on_gradient is not None:
            self.on_gradient(epoch)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        with self.guard.around_update(lr) if self.guard else nullcontext():
            self.optimizer.step()
        quant.keep_valid_(self.model)
        if self.on_update is not None:
            self.on_update()
        return value.detach()


def sgd(model: nn.Module, params: TrainParams) -> torch.optim.SGD:
    """The optimizer: one kernel for many tensors on CUDA, operations on lists of tensors on CPUs."""
    fused = next(model.parameters()).is_cuda
    groups = parameter_groups(model, params)
    return torch.optim.SGD(groups, params.lr, params.momentum, fused=fused, foreach=not fused)


def parameter_groups(model: nn.Module, params: TrainParams) -> list[dict[str, object]]:
    """Two SGD groups: what decays, and the quantizers' parameters, which by default do not."""
    apart = set() if params.decay_quantizers else quant.quantizer_parameters(model)
    named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    return [
        {"params": [p for name, p in named if name not in apart], "weight_decay": params.weight_decay},
        {"params": [p for name, p in named if name in apart], "weight_decay": 0.0},
    ]


@contextmanager
def _seeded_layers(generator: torch.Generator, device: torch.device) -> Iterator[None]:
    """Gives dropout, which knows only the global generator, numbers that follow from ours alone."""
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices):
        torch.manual_seed(int(torch.randint(2**31, (), generator=generator)))
        yield
