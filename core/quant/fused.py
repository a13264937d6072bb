"""Pieces of the fused quantizers: one pass over memory where the layout allows it, float32 inside autocast.

Everything here that backward uses is linear in the incoming gradient and differentiable by it, which
`core.unlearn.influence` needs for Jacobian-vector products.
"""

import math

import torch
from torch import Tensor


def round_to_grid(x: Tensor, step: Tensor, offset: Tensor | None, qmin: int, qmax: int) -> Tensor:
    """step · round(clamp((x - offset) / step, qmin, qmax)) + offset, rounding half to even.

    In place after the first operation, because it is bound by memory traffic. A compiler does without, and torch
    2.11 compiles a function that returns what it changed in place to one without gradients.
    """
    if torch.compiler.is_compiling():
        codes = ((x if offset is None else x - offset) / step).clamp(qmin, qmax).round()
        return codes * step if offset is None else codes * step + offset
    if offset is None:
        return x.div(step).clamp_(qmin, qmax).round_().mul_(step)
    return (x - offset).div_(step).clamp_(qmin, qmax).round_().mul_(step).add_(offset)


def wide(x: Tensor) -> Tensor:
    """x in float32, unless it is wider."""
    return x if x.dtype in (torch.float32, torch.float64) else x.float()


def narrowed(x: Tensor, dtype: torch.dtype) -> Tensor:
    """x in a dtype. To ask for the one that it has already costs compiled functions of torch 2.11 their gradients."""
    return x if x.dtype == dtype else x.to(dtype)


def one_pass(x: Tensor) -> bool:
    """Whether kernels that want plain numbers for bounds are at hand and worth it: on CPUs, not compiled.

    Reading a number from a CPU tensor waits for nothing. On an accelerator it would wait for the device, and a
    compiler makes one pass of the plain expressions anyway.
    """
    return x.is_cpu and x.dtype == torch.float32 and not torch.compiler.is_compiling()


def pass_inside(grad: Tensor, x: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """The gradient where low <= x <= high, zero elsewhere."""
    if one_pass(x) and low.numel() == 1:
        # One pass instead of three. The kernel excludes its bounds, so they move one float outwards.
        bounds = (
            torch.nextafter(low, low.new_tensor(-math.inf)),
            torch.nextafter(high, high.new_tensor(math.inf)),
        )
        return torch.ops.aten.hardtanh_backward(grad, x, bounds[0].item(), bounds[1].item())
    return torch.where(x.clamp(low, high) == x, grad, 0.0)


def inner(a: Tensor, b: Tensor, like: Tensor) -> Tensor:
    """Σ a·b over the elements that share one entry of `like`, in its shape."""
    if one_pass(a) and like.numel() == 1 and a.stride() == b.stride():
        return torch.dot(_flat(a), _flat(b)).reshape(like.shape)
    return total(a * b, like)


def total(a: Tensor, like: Tensor) -> Tensor:
    """Σ a over the elements that share one entry of `like`, in its shape."""
    return a.sum().reshape(like.shape) if like.numel() == 1 else a.sum_to_size(like.shape)


def _flat(x: Tensor) -> Tensor:
    """All elements in memory order, without a copy for both usual layouts."""
    if x.dim() == 4 and x.is_contiguous(memory_format=torch.channels_last):
        return x.permute(0, 2, 3, 1).reshape(-1)
    return x.reshape(-1)
