"""Which way to quantize a tensor: by one kernel where there is one for it, else by plain expressions."""

import warnings
from functools import cache
from types import ModuleType

import torch
from torch import Tensor

from core.quant.fused import narrowed, pass_inside, round_to_grid, wide


def fake_quantize(x: Tensor, step: Tensor, offset: Tensor | None, qmin: int, qmax: int) -> Tensor:
    """step · round(clamp((x - offset) / step, qmin, qmax)) + offset, in x's dtype, computed in float32."""
    found = kernels(x, step)
    if found is not None:
        out: Tensor = found.round_to_grid(x, step, zero_like(step) if offset is None else offset, qmin, qmax)
        return out
    return narrowed(round_to_grid(wide(x), step, offset, qmin, qmax), x.dtype)


def zero_like(step: Tensor) -> Tensor:
    """0 on the step's device; made once, so that asking copies nothing."""
    return _zero(step.device, step.dtype)


@cache
def _zero(device: torch.device, dtype: torch.dtype) -> Tensor:
    return torch.zeros((), device=device, dtype=dtype)


def kernels(x: Tensor, step: Tensor) -> ModuleType | None:
    """`core.quant.kernels` for a dense CUDA tensor with a single step; None for any other.

    A compiler makes kernels of its own from the plain expressions.
    """
    if not x.is_cuda or torch.compiler.is_compiling() or step.numel() != 1 or not _dense(x):
        return None
    return _agreeing(x.device)


def alike(grad: Tensor, x: Tensor) -> Tensor:
    """The gradient, lying in memory as x does."""
    return grad if grad.stride() == x.stride() else torch.empty_like(x, dtype=grad.dtype).copy_(grad)


def _dense(x: Tensor) -> bool:
    return x.is_contiguous() or (x.dim() == 4 and x.is_contiguous(memory_format=torch.channels_last))


@cache
def _agreeing(device: torch.device) -> ModuleType | None:
    """The kernels, if they give on this device what the plain expressions give; else a warning says why not."""
    try:
        from core.quant import kernels as found

        difference = deviation(found, device)
    except Exception as error:  # of many kinds: no Triton, no compiler for it, an unknown device
        difference = str(error).strip().partition("\n")[0] or type(error).__name__
    if difference:
        warnings.warn(f"quantizers take several passes on {device}: {difference}", stacklevel=2)
        return None
    return found


@torch.no_grad()
def deviation(found: ModuleType, device: torch.device) -> str:
    """What the kernels do otherwise than the plain expressions, on 10,001 normal numbers; empty if nothing.

    Of every rule of the backward pass; a sigmoid may round as it likes.
    """
    generator = torch.Generator().manual_seed(0)
    x, grad = torch.randn((2, 10001), generator=generator).to(device)
    step, offset = torch.tensor(0.13, device=device), torch.tensor(0.02, device=device)
    out = round_to_grid(x, step, offset, -8, 7)
    high = step * 7 + offset
    passed = pass_inside(grad, x, step * -8 + offset, high)
    sigma = (((x - offset) / step).remainder(1) - 0.5).mul(2).sigmoid()
    softly = passed * (sigma - sigma * sigma) * 1.5
    expected = {
        "lsq": (passed, (grad * out - passed * x).sum(), (grad - passed).sum()),
        "pact": (passed, grad[x >= high].sum(), torch.zeros_like(step)),
        "dsq": (softly, (grad * out - softly * x).sum(), (grad - softly).sum()),
    }
    if not torch.equal(found.round_to_grid(x, step, offset, -8, 7), out):
        return "the fused kernels give other values"
    for rule, (gradient, *sums) in expected.items():
        got, *added = found.backward(rule, grad, x, step, offset, -8, 7, high, 2.0, 1.5)
        if not torch.allclose(
            got, gradient, rtol=1e-5 if rule == "dsq" else 0, atol=1e-6 if rule == "dsq" else 0
        ):
            return f"the fused kernels give other gradients ({rule})"
        if not all(torch.allclose(a, b, rtol=1e-4, atol=1e-2) for a, b in zip(added, sums, strict=True)):
            return f"the fused kernels give other sums ({rule})"
    return ""
