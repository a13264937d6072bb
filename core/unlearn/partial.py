"""Layer-wise partial updates: each step moves only a share of every layer's entries (Gogineni & Nadimi 2024)."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Field

from core import quant
from core.lazy import Tensor, nn, no_grad, torch
from core.unlearn.base import UnlearnParams
from core.unlearn.parameters import normalisation_parameters


class PartialParams(UnlearnParams):
    """Options beside the loop's: which entries a step may move.

    There is no public code; what the paper leaves open is an option.

    fraction: ρ, the share of each layer's entries, rounded up, so that of a single number (a step) any share
    is all of it; 1 leaves the method as it is, 0 moves nothing. A layer is one parameter tensor.
    selection: topk takes the entries with the largest absolute gradient, random draws them, on the CPU.
    refresh: how long a choice lasts: step, epoch (that of its first step), or once.
    partly: all parameters, or weights alone, while biases, normalisation and quantizers move freely.
    """

    fraction: Annotated[float, Field(ge=0, le=1)] = 0.25
    selection: Literal["topk", "random"] = "topk"
    refresh: Literal["step", "epoch", "once"] = "step"
    partly: Literal["all", "weights"] = "all"


class PartialUpdates:
    """Keeps the updates of a training to the chosen entries, as `fit`'s hooks on gradients and updates.

    Gradients of other entries count as 0, and neither momentum nor weight decay moves these: they are put back
    after the step, exactly. Running statistics of normalisation layers are no parameters and follow the data.
    """

    def __init__(self, model: nn.Module, params: PartialParams, generator: torch.Generator) -> None:
        apart = set()
        if params.partly == "weights":
            biases = {name for name, p in model.named_parameters() if p.dim() < 2}
            apart = biases | quant.quantizer_parameters(model) | normalisation_parameters(model)
        self.named = {name: p for name, p in model.named_parameters() if name not in apart}
        self.params, self.seed = params, generator.initial_seed()
        self.epoch = -1
        self.free: dict[str, Tensor] = {}  # 1 where an entry may move, in the parameter's type
        self.before: list[Tensor] = []

    @no_grad
    def mask_gradients(self, epoch: int) -> None:
        """Before a step: chooses the entries where it is time to, and zeroes the others' gradients."""
        first, self.epoch = epoch != self.epoch, epoch
        if first:
            # of its own, so that ρ = 1 repeats the whole method, and by the epoch, so that a pause changes nothing
            self.draws = torch.Generator().manual_seed((self.seed + 1 + epoch) % 2**62)
        if self._is_time(first):
            self.free = {name: self._chosen(p) for name, p in self.named.items()}
        self.before = [p.detach().clone() for p in self.named.values()]
        graded = [(p.grad, self.free[name]) for name, p in self.named.items() if p.grad is not None]
        torch._foreach_mul_([grad for grad, _ in graded], [free for _, free in graded])

    @no_grad
    def hold_others(self) -> None:
        """After a step: puts back what may not move; at weights 0 and 1 the interpolation is exact."""
        now: list[Tensor] = list(self.named.values())
        torch._foreach_lerp_(now, self.before, [1 - free for free in self.free.values()])

    def remembered(self) -> dict[str, Tensor]:
        """The choice, if it lasts beyond the epoch."""
        lasting = self.free if self.params.refresh == "once" else {}
        return {name: free.bool() for name, free in lasting.items()}

    def recall(self, tensors: dict[str, Tensor]) -> None:
        """Takes the choice back."""
        self.free = {name: tensors[name].to(p) for name, p in self.named.items() if name in tensors}

    def _is_time(self, first: bool) -> bool:
        if self.params.refresh == "once":
            return not self.free
        return first or self.params.refresh == "step"

    def _chosen(self, p: nn.Parameter) -> Tensor:
        if self.params.selection == "random":
            scores = torch.rand(p.shape, generator=self.draws).to(p)
        else:
            scores = torch.zeros_like(p) if p.grad is None else p.grad.abs()
        return largest_entries(scores, self.params.fraction)


def largest_entries(scores: Tensor, fraction: float) -> Tensor:
    """1 at the ceil(fraction · n) largest of n entries, 0 elsewhere, in the type and shape of the scores."""
    chosen = torch.zeros_like(scores, memory_format=torch.contiguous_format).flatten()
    chosen[largest(scores.flatten(), fraction)] = 1
    return chosen.view(scores.shape)


def largest(scores_n: Tensor, fraction: float) -> Tensor:
    """Positions of the ceil(fraction · n) largest of n scores, int64 in no order; ascending if they are all."""
    count = math.ceil(fraction * len(scores_n))
    if count == len(scores_n):
        return torch.arange(count, device=scores_n.device)
    return scores_n.topk(count, sorted=False).indices
