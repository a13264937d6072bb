"""One encoded image, whatever its format, to pixels.

`picture` takes it as it is, for data sets whose size is known; `square` brings it to a size and keeps account of what
it did on the way.
"""

from collections import Counter
from functools import cache
from io import BytesIO

import numpy as np
from PIL import Image, ImageOps

from core.data.readers.source import Images, plural
from core.errors import BadInput

LARGEST = 2**26  # pixels of an image before it is made smaller: a forged header must not ask for gigabytes
# EPS would start Ghostscript, a program for programs; of the others Pillow knows the name and no more
_NOT_READ = {"EPS", "BUFR", "GRIB", "HDF5", "MPEG", "WMF"}
_ORIENTATION = 0x0112  # the EXIF tag; 1 is upright

TURNED, FRAMES, CLEAR = "turned upright by its EXIF orientation", "of several frames", "transparent in places"
_SAID = {
    TURNED: "turned upright as their EXIF orientation says",
    FRAMES: "with several frames, of which the first was read",
    CLEAR: "with transparency, which was dropped",
}


@cache
def formats() -> tuple[str, ...]:
    """The names of the formats that are decoded: all of Pillow's that need no other program."""
    Image.init()
    return tuple(sorted(Image.OPEN.keys() - _NOT_READ))


@cache
def suffixes() -> frozenset[str]:
    """The endings, in lower case and with their dot, of files in those formats."""
    known = set(formats())
    return frozenset(suffix for suffix, kind in Image.registered_extensions().items() if kind in known)


def said(done: Counter[str]) -> tuple[str, ...]:
    """What `square` did to images that a person may not expect, a line for each kind."""
    return tuple(f"{plural(done[kind], 'image')} {words}" for kind, words in _SAID.items() if done[kind])


def picture(data: bytes, pixels: int, where: object) -> Images:
    """Decode one image, grey-scale or not, to uint8 RGB (3, pixels, pixels).

    Raises BadInput for one that cannot be decoded or has another size. The size is compared before any
    pixel is decoded, so that a forged header cannot ask for gigabytes.
    """
    try:
        with Image.open(BytesIO(data), formats=formats()) as image:
            size, fault = image.size, _depth(image)
            if size == (pixels, pixels) and fault is None:
                return np.asarray(image.convert("RGB")).transpose(2, 0, 1)
    except Exception as error:  # the decoders raise OSError, SyntaxError, ValueError, struct.error and more
        raise _undecodable(error, where) from error
    raise BadInput(f"{where}: image {fault or f'is {size[0]}×{size[1]} px, expected {pixels}×{pixels}'}")


def square(data: bytes, pixels: int, where: object, done: Counter[str]) -> Images:
    """One image as uint8 RGB (3, pixels, pixels): upright, cropped in its centre, made that wide bilinearly.

    Grey ones get three equal channels. `done` counts what was done beyond that. Raises BadInput.
    """
    try:
        with Image.open(BytesIO(data), formats=formats()) as image:
            fault = _fault(image)
            if fault is None:
                done.update(_surprises(image))
                upright = ImageOps.exif_transpose(image).convert("RGB")
                fitted = ImageOps.fit(upright, (pixels, pixels), Image.Resampling.BILINEAR)
                return np.asarray(fitted).transpose(2, 0, 1)
    except Exception as error:  # the decoders raise OSError, SyntaxError, ValueError, struct.error and more
        raise _undecodable(error, where) from error
    raise BadInput(f"{where}: image {fault}")


def _undecodable(error: Exception, where: object) -> BadInput:
    return BadInput(f"{where}: image cannot be decoded ({type(error).__name__})")


def _surprises(image: Image.Image) -> list[str]:
    """The kinds of `_SAID` that an image is of."""
    found = {
        TURNED: image.getexif().get(_ORIENTATION, 1) in range(2, 9),
        FRAMES: getattr(image, "n_frames", 1) > 1,
        CLEAR: image.has_transparency_data and _is_clear(image),
    }
    return [kind for kind, there in found.items() if there]


def _is_clear(image: Image.Image) -> bool:
    """Whether any pixel is transparent; many files have a channel for it that says no more than 'opaque'."""
    histogram = image.convert("RGBA").getchannel("A").histogram()
    return any(histogram[:-1])


def _fault(image: Image.Image) -> str | None:
    """Why an image is not decoded, from its header alone; None if it is."""
    width, height = image.size
    if width * height > LARGEST:
        return f"is {width}×{height} px, expected at most {LARGEST:,} pixels"
    return _depth(image)


def _depth(image: Image.Image) -> str | None:
    """Why an image of more than 8 bits is not read: Pillow would clip it to white."""
    bits = {"I": 16, "F": 32}.get(image.mode[0])
    return f"has {bits} bits per channel, expected 8" if bits else None
