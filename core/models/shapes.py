"""What small networks share: channels by a multiplier, and feature maps of one size whatever the images' is."""

import torch
from torch import Tensor

_FEWEST = 8  # channels


def scaled(channels: int, width: float) -> int:
    """`channels` times the multiplier `width`, but never fewer than 8 nor, of fewer, than there were."""
    return max(min(_FEWEST, channels), round(channels * width))


def to_grid(x_BCHW: Tensor, side: int) -> Tensor:
    """Averages over a grid of side × side cells, B x C x side x side; where there are fewer pixels, they repeat.

    The same as adaptive average pooling, written as a product of matrices: pooling's backward pass does not repeat
    bit by bit on CUDA.
    """
    height, width = x_BCHW.shape[-2:]
    if height == width == side:
        return x_BCHW
    rows_GH, columns_GW = (cell_averages(size, side, x_BCHW) for size in (height, width))
    return rows_GH @ x_BCHW @ columns_GW.T


def cell_averages(size: int, side: int, like: Tensor) -> Tensor:
    """side x size: the weight of each of `size` pixels in each cell; cells share a pixel that lies across."""
    cell_G1 = torch.arange(side, device=like.device)[:, None]
    pixel_N = torch.arange(size, device=like.device)
    inside_GN = (pixel_N >= cell_G1 * size // side) & (pixel_N * side < (cell_G1 + 1) * size)
    return inside_GN.to(like.dtype) / inside_GN.sum(1, keepdim=True)
