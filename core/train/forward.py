"""How a network's logits are computed while it trains: operation by operation, or compiled."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cache
from typing import TypeAlias

from core.errors import BadInput
from core.lazy import Tensor, nn, torch

Forward: TypeAlias = "Callable[[nn.Module, Tensor], Tensor]"  # network, images BCHW -> logits BK

# Compiled networks that a process keeps, each for its modes and batch sizes; torch's own 8 would end a long grid's
_VARIANTS = 256


def plain(model: nn.Module, images_BCHW: Tensor) -> Tensor:
    """The network, operation by operation."""
    logits: Tensor = model(images_BCHW)
    return logits


@cache
def compiled(device: torch.device) -> Forward:
    """The network as one compiled graph forward and one backward. BadInput where torch finds no compiler.

    Networks of the same structure share the code, in this process and, by torch's cache on disk, in later ones.
    Every batch of another shape is another graph: `fixed_size` keeps short last batches out.

    Quantizers give the same bits compiled. Normalisation layers round otherwise, by about 1e-5 of a value, and
    a value that is that near to the middle between two codes gets the other one; so a quantized network differs
    from the plain one as it does from itself after a change of its weights in the sixth digit.
    """
    try:
        same = _gradients(torch.compile(_probe, fullgraph=True), device) == _gradients(_probe, device)
        reason = "" if same else "gradients of a compiled quantizer are wrong"
    except Exception as error:  # of many kinds: no compiler, no driver, no folder to write to
        reason = str(error).strip().partition("\n")[0]
    if reason:
        raise BadInput(
            f"resources.compile: torch {torch.__version__} cannot compile here ({reason}): use off"
        )
    torch._dynamo.config.recompile_limit = _VARIANTS
    torch._dynamo.config.accumulated_recompile_limit = 4 * _VARIANTS
    found: Forward = torch.compile(plain, fullgraph=True, dynamic=False)
    return found


def _probe(x: Tensor, step: Tensor) -> Tensor:
    from core.quant import lsq_plus  # torch, which nobody needs who compiles nothing

    return lsq_plus.lsq_plus(x, step, None, -8, 7, 1.0)


def _gradients(function: Callable[[Tensor, Tensor], Tensor], device: torch.device) -> list[float]:
    """Of a few inputs and of the step: exact in float32, in whatever order they are summed up."""
    x = torch.tensor([0.125, -2.25, 9.0, -9.0], device=device, requires_grad=True)
    step = torch.tensor(0.5, device=device, requires_grad=True)
    return [
        float(g) for grad in torch.autograd.grad(function(x, step).sum(), (x, step)) for g in grad.flatten()
    ]


def compile_seconds() -> float:
    """What this process has spent on compiling so far: a worker's, and no method's."""
    if "torch._dynamo" not in sys.modules:  # its import takes a second that only compiling needs
        return 0.0
    from torch._dynamo.utils import calculate_time_spent

    return float(calculate_time_spent().get("total_wall_time", 0.0))


def fixed_size(forward: Forward, size: int) -> Forward:
    """`forward` for batches of a size, `plain` for any other."""
    if forward is plain:
        return plain
    return lambda model, images: (forward if len(images) == size else plain)(model, images)
