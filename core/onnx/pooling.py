"""Pooling as ONNX: by windows, and to a grid of fixed size, which is a product of matrices."""

from __future__ import annotations

from typing import Any

import torch

from core.models import cell_averages
from core.onnx.graph import Site, Value

Size = int | tuple[int, ...]


def pair(value: Size) -> list[int]:
    """A size as torch takes it, for both dimensions."""
    return [value, value] if isinstance(value, int) else list(value)


def maximum(
    site: Site,
    x: Value,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> str:
    """The largest value of each window."""
    if return_indices:
        raise site.refused("returns indices: leave them out")
    window = _window(kernel_size, stride, padding)
    return site.op("MaxPool", x.name, **window, dilations=pair(dilation), ceil_mode=int(ceil_mode))


def average(
    site: Site,
    x: Value,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> str:
    """The mean of each window."""
    if divisor_override or (ceil_mode and any(pair(padding))):
        raise site.refused("divides otherwise than by the window: leave divisor_override and ceil_mode out")
    counted: dict[str, Any] = {"ceil_mode": int(ceil_mode), "count_include_pad": int(count_include_pad)}
    return site.op("AveragePool", x.name, **_window(kernel_size, stride, padding), **counted)


def _window(kernel_size: Size, stride: Size | None, padding: Size) -> dict[str, Any]:
    return {
        "kernel_shape": pair(kernel_size),
        "strides": pair(stride or kernel_size),
        "pads": pair(padding) * 2,
    }


def adaptive_average(site: Site, x: Value, output_size: Size) -> str:
    """Averages over a grid of cells; over everything where there is one."""
    rows, columns = pair(output_size)
    if rows == columns == 1:
        return site.op("GlobalAveragePool", x.name)
    return _grid(site, x, rows, columns)


def grid_of_averages(site: Site, x_BCHW: Value, side: int) -> str:
    """`core.models.shapes.to_grid`."""
    return _grid(site, x_BCHW, side, side)


def _grid(site: Site, x: Value, rows: int, columns: int) -> str:
    height, width = x.shape[-2:]
    if (height, width) == (rows, columns):
        return x.name
    like = torch.zeros(())
    by_rows = site.constant("rows", cell_averages(height, rows, like))
    by_columns = site.constant("columns", cell_averages(width, columns, like).T)
    return site.op("MatMul", site.op("MatMul", by_rows, x.name, part="averaged_rows"), by_columns)
