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
    step by more than half.
    """

    def __init__(self, model: nn.Module, trust: float) -> None:
        self.steps: list[Tensor] = [p for _, q in quantizers(model) for p in q.steps() if p.requires_grad]
        self.trust = trust

    @contextmanager
    def around_update(self, lr: float) -> Iterator[None]:
        """Clips the steps' gradients on entry, and on exit bounds how far they fell."""
        if not self.steps:
            yield
            return
        with torch.no_grad():
            self._clip_gradients(lr)
            lowest = list(torch._foreach_mul(self.steps, 0.5))
            yield
            torch._foreach_maximum_(self.steps, lowest)

    def _clip_gradients(self, lr: float) -> None:
        pairs = [(p.grad, p.detach()) for p in self.steps if p.grad is not None]
        if not pairs:
            return
        grads: list[Tensor] = [g for g, _ in pairs]
        bounds = list(torch._foreach_mul([s for _, s in pairs], self.trust / lr))
        torch._foreach_minimum_(grads, bounds)
        torch._foreach_maximum_(grads, list(torch._foreach_neg(bounds)))
