"""Images and maps in labelled rows, as one picture file."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import NamedTuple

from core.lazy import Tensor

FORMATS = ("png", "pdf", "svg")
COLOURS = "viridis"  # as even to the eye as the numbers are, also in grey and without red or green
_SIDE, _MARGIN, _TOP = 1.25, 2.2, 0.7  # inches: of an image, beside all of them, and above


class PictureRow(NamedTuple):
    """name: what the row shows. pictures: N x H x W x 3 images, or N x H x W maps in 0 to 1. titles: above each."""

    name: str
    pictures: Tensor
    titles: Sequence[str]


def picture(rows: Sequence[PictureRow], heading: str, form: str) -> bytes:
    """A file of one of `FORMATS`: the rows below each other, images first, with one scale for all maps."""
    from matplotlib.figure import Figure

    columns = len(rows[0].pictures)
    size = max(6.0, _MARGIN + _SIDE * columns), _TOP + 1.15 * _SIDE * len(rows)
    figure = Figure(figsize=size, layout="compressed")
    axes = figure.subplots(len(rows), columns, squeeze=False)
    for row, line in zip(rows, axes, strict=True):
        name = row.name.replace(" (", "\n(", 1).replace(", ", ",\n")  # a variant's options below its method
        line[0].set_ylabel(name, rotation=0, ha="right", va="center", labelpad=8)
        for axis, pixels, title in zip(line, row.pictures, row.titles, strict=True):
            drawn = axis.imshow(pixels.numpy(), cmap=COLOURS, vmin=0, vmax=1, interpolation="nearest")
            axis.set_title(title, fontsize=9)
            axis.set(xticks=[], yticks=[])
    bar = figure.colorbar(drawn, ax=axes[1:], shrink=0.9, aspect=30)
    bar.set_label("what speaks for the label (Grad-CAM),\nshare of the image's largest value")
    figure.suptitle(heading, fontsize=10)
    file = io.BytesIO()
    figure.savefig(file, format=form, dpi=160, bbox_inches="tight", pad_inches=0.12)
    return file.getvalue()
