"""Keeps learned steps from collapsing: a bound on how far one update may move a step."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from core.quant.base import quantizers


class StepGuard:
    """Bounds each step's relative change per update; made once per training run.

    Deliberate deviation from LSQ: at the paper's learning rate of 0.1 an 8-bit step (about 3σ/128) meets
    gradients many times its own size, jumps below zero in the first iterations and takes the layer with
    it; smaller but still large relative noise makes the logarithm of a step drift downwards (Itô), to the
    same end. Gradients of steps are therefore clipped to `trust` · s / lr. At trust = (1 - momentum)²/4,
    0.0025 for momentum 0.9, even a gradient that always points down decays a step without overshooting
    zero (critical damping), and noise makes ln s drift by less than 4e-4 per update. No update shrinks a
    step by more than half. PACT's α stands for its step, being a multiple of it; either end of DSQ's range
    gets half the bound, so that the two together move their step no further.
    """

    def __init__(self, model: nn.Module, trust: float) -> None:
        self.steps: list[Tensor] = [p for _, q in quantizers(model) for p in q.steps() if p.requires_grad]
        ranges = [ends for _, q in quantizers(model) if (ends := q.limits()) and ends[0].requires_grad]
        self.lowers: list[Tensor] = [lower for lower, _ in ranges]
        self.uppers: list[Tensor] = [upper for _, upper in ranges]
        self.trust = trust

    @contextmanager
    def around_update(self, lr: float) -> Iterator[None]:
        """Clips the gradients of steps and ranges on entry, and on exit bounds how far they fell."""
        if not self.steps and not self.lowers:
            yield
            return
        with torch.no_grad():
            widths = _difference(self.uppers, self.lowers)
            self._clip(self.steps, self.steps, self.trust / lr)
            self._clip(self.lowers, widths, self.trust / lr / 2)
            self._clip(self.uppers, widths, self.trust / lr / 2)
            lowest = _scaled(self.steps, 0.5)
            yield
            if self.steps:
                torch._foreach_maximum_(self.steps, lowest)
            if self.lowers:
                self._widen(_scaled(widths, 0.5))

    def _clip(self, parameters: list[Tensor], sizes: list[Tensor], factor: float) -> None:
        """Clips every parameter's gradient to `factor` times its size."""
        pairs = [(p.grad, s) for p, s in zip(parameters, sizes, strict=True) if p.grad is not None]
        if not pairs:
            return
        grads: list[Tensor] = [g for g, _ in pairs]
        bounds = _scaled([s.detach() for _, s in pairs], factor)
        torch._foreach_minimum_(grads, bounds)
        torch._foreach_maximum_(grads, list(torch._foreach_neg(bounds)))

    def _widen(self, lowest: list[Tensor]) -> None:
        """Moves both ends of a range apart by as much where it became narrower than `lowest`."""
        missing = _difference(lowest, _difference(self.uppers, self.lowers))
        torch._foreach_clamp_min_(missing, 0.0)
        torch._foreach_add_(self.uppers, missing, alpha=0.5)
        torch._foreach_add_(self.lowers, missing, alpha=-0.5)


def _scaled(tensors: list[Tensor], factor: float) -> list[Tensor]:
    return list(torch._foreach_mul(tensors, factor)) if tensors else []


def _difference(a: list[Tensor], b: list[Tensor]) -> list[Tensor]:
    return list(torch._foreach_sub(a, b)) if a else []
