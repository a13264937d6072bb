"""The quantizers' forward and backward pass on CUDA, each one Triton kernel: a tensor is read once and written once.

The same values as the plain expressions of `core.quant.fused`, bit for bit going forward; the sums for steps and
offsets are added up in another order, which is the same on every run.
"""

from typing import Any, Literal

import torch
import triton
import triton.language as tl
from torch import Tensor

Rule = Literal["lsq", "pact", "dsq"]

_BLOCK = 4096  # elements of a program; each leaves two partial sums
_TO_EVEN = tl.constexpr(12582912.0)  # 1.5 · 2^23: adding it rounds half to even any |v| < 2^22


@triton.jit
def _codes(x, step, offset, qmin, qmax):
    v = tl.div_rn(x - offset, step)
    v = tl.clamp(v, qmin, qmax, propagate_nan=tl.PropagateNan.ALL)
    return (v + _TO_EVEN) - _TO_EVEN


@triton.jit
def _forward(
    x_ptr,
    out_ptr,
    step_ptr,
    offset_ptr,
    n,
    qmin,
    qmax,
    BLOCK: tl.constexpr,
):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    step, offset = tl.load(step_ptr), tl.load(offset_ptr)
    x = tl.load(x_ptr + at, mask=at < n).to(tl.float32)
    out = _codes(x, step, offset, qmin, qmax) * step + offset
    tl.store(out_ptr + at, out.to(out_ptr.dtype.element_ty), mask=at < n)


@triton.jit
def _backward(
    grad_ptr, x_ptr, passed_ptr, sums_ptr, step_ptr, offset_ptr, high_ptr, n, qmin, qmax, sharpness, gain,
    RULE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    program = tl.program_id(0)
    at = program * BLOCK + tl.arange(0, BLOCK)
    step, offset = tl.load(step_ptr), tl.load(offset_ptr)
    x = tl.load(x_ptr + at, mask=at < n, other=0.0).to(tl.float32)
    grad = tl.load(grad_ptr + at, mask=at < n, other=0.0).to(tl.float32)
    low = step * qmin + offset
    high = step * qmax + offset if RULE == "lsq" else tl.load(high_ptr)
    passed = tl.where((x >= low) & (x <= high), grad, 0.0)
    if RULE == "dsq":
        v = tl.div_rn(x - offset, step)
        sigma = tl.sigmoid((v - tl.floor(v) - 0.5) * sharpness)
        passed = passed * ((sigma - sigma * sigma) * gain)
    if RULE == "pact":
        first, second = tl.where(x >= high, grad, 0.0), tl.zeros_like(grad)
    else:
        first = grad * (_codes(x, step, offset, qmin, qmax) * step + offset) - passed * x
        second = grad - passed
    tl.store(passed_ptr + at, passed.to(passed_ptr.dtype.element_ty), mask=at < n)
    tl.store(sums_ptr + 2 * program, tl.sum(first))
    tl.store(sums_ptr + 2 * program + 1, tl.sum(second))


def round_to_grid(x: Tensor, step: Tensor, offset: Tensor, qmin: int, qmax: int) -> Tensor:
    """step · round(clamp((x - offset) / step, qmin, qmax)) + offset, in x's dtype and memory format."""
    out = torch.empty_like(x)
    n = x.numel()
    _forward[_grid(n)](x, out, step, offset, n, float(qmin), float(qmax), BLOCK=_BLOCK, **_EXACT)
    return out


def backward(
    rule: Rule,
    grad: Tensor,
    x: Tensor,
    step: Tensor,
    offset: Tensor,
    qmin: int,
    qmax: int,
    high: Tensor | None = None,
    sharpness: float = 0.0,
    gain: float = 0.0,
) -> tuple[Tensor, Tensor, Tensor]:
    """What reaches x, and two sums over all elements, in step's shape.

    high: upper end of the range; None: that of the largest code.

    lsq and dsq: Σ grad · xq - Σ passed · x, and Σ grad - Σ passed. pact: Σ grad where x >= its clip, and 0. dsq
    passes gain · σ(1 - σ) of the gradient, σ = sigmoid(sharpness · (f - 1/2)).

    grad and x lie in memory alike.
    """
    n = x.numel()
    passed = torch.empty_like(x)
    sums_P2 = torch.empty((triton.cdiv(n, _BLOCK), 2), device=x.device)
    upper = step if high is None else high  # read by no rule that has none
    scalars = (n, float(qmin), float(qmax), sharpness, gain)
    _backward[_grid(n)](
        grad, x, passed, sums_P2, step, offset, upper, *scalars, RULE=rule, BLOCK=_BLOCK, **_EXACT
    )
    first, second = sums_P2.sum(0)
    return passed, first.reshape(step.shape), second.reshape(step.shape)


_EXACT: dict[str, Any] = {"enable_fp_fusion": False}  # a product and a sum are rounded one after the other


def _grid(n: int) -> tuple[int]:
    return (triton.cdiv(n, _BLOCK),)
