"""How functions and methods of tensors are written: `WRITERS`, by the name that torch.fx gives them.

A writer's arguments are those of the function, with `Value` in the place of tensors; `inplace` is seen to elsewhere.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from core.onnx.graph import Site, Value
from core.onnx.pooling import adaptive_average, average, grid_of_averages, maximum

Writer = Callable[..., str]
Dims = int | Sequence[int]


def same(_site: Site, x: Value, *_rest: Any, **_more: Any) -> str:
    """What changes nothing in eval mode, such as dropout: no node."""
    return x.name


def elementwise(kind: str) -> Writer:
    """A function of one tensor with an ONNX operator of its own."""

    def write(site: Site, x: Value) -> str:
        return site.op(kind, x.name)

    return write


def binary(kind: str) -> Writer:
    """An operation on two tensors, or on a tensor and a number."""

    def write(site: Site, a: Value | float, b: Value | float) -> str:
        operands = ((a, "left"), (b, "right"))
        return site.op(kind, *(v.name if isinstance(v, Value) else site.constant(p, v) for v, p in operands))

    return write


def reduction(kind: str) -> Writer:
    """Over some dimensions, which go unless they are kept."""

    def write(site: Site, x: Value, dim: Dims, keepdim: bool = False) -> str:
        axes = [dim] if isinstance(dim, int) else list(dim)
        return site.op(kind, x.name, site.constant("axes", axes, "INT64"), keepdims=int(keepdim))

    return write


def clip(site: Site, x: Value, low: float, high: float) -> str:
    """The values between two bounds."""
    return site.op("Clip", x.name, site.constant("low", low), site.constant("high", high))


def relu6(site: Site, x: Value) -> str:
    """min(max(x, 0), 6)."""
    return clip(site, x, 0.0, 6.0)


def silu(site: Site, x: Value) -> str:
    """x · sigmoid(x)."""
    return site.op("Mul", x.name, site.op("Sigmoid", x.name, part="sigmoid"))


def hard_sigmoid(site: Site, x: Value) -> str:
    """relu6(x + 3) / 6."""
    return site.op("HardSigmoid", x.name, alpha=1 / 6, beta=0.5)


def flatten(site: Site, x: Value, start_dim: int = 0, end_dim: int = -1) -> str:
    """All dimensions but the first in one."""
    if start_dim != 1 or end_dim not in (-1, len(x.shape) - 1):
        raise site.refused(f"from {start_dim} to {end_dim} mixes images: flatten from dimension 1 on")
    return site.op("Flatten", x.name, axis=1)


def concatenate(site: Site, tensors: Sequence[Value], dim: int = 0) -> str:
    """Tensors side by side."""
    return site.op("Concat", *(x.name for x in tensors), axis=dim)


def reshape(site: Site, x: Value, *shape: Any) -> str:
    """Another shape for each image, the first dimension as it is."""
    wanted = list(shape[0]) if len(shape) == 1 and isinstance(shape[0], (list, tuple)) else list(shape)
    if not all(isinstance(size, int) for size in wanted) or math.prod(wanted[1:]) != math.prod(x.shape[1:]):
        raise site.refused(f"to {shape} mixes images or follows the batch's size: use flatten(1)")
    return site.op("Reshape", x.name, site.constant("shape", [0, *wanted[1:]], "INT64"))


def permute(site: Site, x: Value, *dims: Any) -> str:
    """The dimensions in another order."""
    order = list(dims[0]) if len(dims) == 1 and isinstance(dims[0], (list, tuple)) else list(dims)
    return site.op("Transpose", x.name, perm=[dim % len(x.shape) for dim in order])


_ADD, _SUB, _MUL, _DIV = binary("Add"), binary("Sub"), binary("Mul"), binary("Div")
_MEAN, _AMAX = reduction("ReduceMean"), reduction("ReduceMax")
_RELU, _SIGMOID, _TANH = elementwise("Relu"), elementwise("Sigmoid"), elementwise("Tanh")
_FUNCTIONAL = "torch.nn.functional"

WRITERS: dict[str, Writer] = {
    **dict.fromkeys(("_operator.add", "_operator.iadd", "torch.add", "add", "add_"), _ADD),
    **dict.fromkeys(("_operator.sub", "_operator.isub", "torch.sub", "sub", "sub_"), _SUB),
    **dict.fromkeys(("_operator.mul", "_operator.imul", "torch.mul", "mul", "mul_"), _MUL),
    **dict.fromkeys(("_operator.truediv", "torch.div", "div", "div_"), _DIV),
    **dict.fromkeys(("torch.mean", "mean"), _MEAN),
    **dict.fromkeys(("torch.amax", "amax"), _AMAX),
    **dict.fromkeys(("torch.relu", f"{_FUNCTIONAL}.relu", "relu", "relu_"), _RELU),
    **dict.fromkeys(("torch.sigmoid", "sigmoid"), _SIGMOID),
    **dict.fromkeys(("torch.tanh", "tanh"), _TANH),
    **dict.fromkeys(("torch.flatten", "flatten"), flatten),
    **dict.fromkeys(("torch.cat", "torch.concat"), concatenate),
    **dict.fromkeys(("view", "reshape", "torch.reshape"), reshape),
    **dict.fromkeys(("permute", "torch.permute"), permute),
    **dict.fromkeys(("contiguous", "clone", f"{_FUNCTIONAL}.dropout", "float"), same),
    "torchvision.ops.stochastic_depth.stochastic_depth": same,
    f"{_FUNCTIONAL}.relu6": relu6,
    f"{_FUNCTIONAL}.silu": silu,
    f"{_FUNCTIONAL}.adaptive_avg_pool2d": adaptive_average,
    f"{_FUNCTIONAL}.max_pool2d": maximum,
    "torch._C._nn.avg_pool2d": average,
    "core.models.shapes.to_grid": grid_of_averages,
}
