"""Read a pickle of uint8 arrays without the power to run anything.

Every name in it is refused but the few an array needs, and those stand for classes of this file: numpy's own
would take type flags and sizes from the pickle, with which a forged one can reach foreign memory.
"""

import pickle
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from core.errors import BadInput


def unpickled(data: bytes, where: Path) -> dict[str, Any]:
    """The dictionary pickled by Python 2 or 3 in `data`: keys as text, arrays uint8 and read-only.

    Raises BadInput naming `where` for a damaged pickle, and for one that asks for more than arrays.
    """
    try:
        content = _ArraysOnly(BytesIO(data), encoding="latin1").load()
        return {_text(key): _plain(value) for key, value in content.items()}
    except Exception as error:  # a broken pickle can raise anything
        raise BadInput(f"{where} is not a readable pickle of arrays ({error})") from error


def _text(key: str | bytes) -> str:
    return key.decode("latin1") if isinstance(key, bytes) else key


def _plain(value: Any) -> Any:
    return value.values if isinstance(value, _Array) else value


class _Dtype:
    """In place of numpy.dtype: uint8 or nothing."""

    def __init__(self, kind: str, *_flags: object) -> None:
        if kind != "u1":
            raise pickle.UnpicklingError(f"refused: an array of {kind}")

    def __setstate__(self, state: object) -> None:
        """Byte order and flags, which single bytes have no use for."""


class _Array:
    """In place of numpy.ndarray and of what numpy rebuilds one with."""

    def __init__(self, *_nothing_yet: object) -> None:
        self.values: Any = np.empty(0, np.uint8)

    def __setstate__(self, state: tuple[object, tuple[int, ...], _Dtype, int, str | bytes]) -> None:
        """Take version, shape, type, column-major or not, and the bytes (text, if Python 2 wrote them)."""
        _, shape, _, columns, raw = state
        data = raw.encode("latin1") if isinstance(raw, str) else raw
        self.values = np.frombuffer(data, np.uint8).reshape(shape, order="F" if columns else "C")


def _encode(text: str, encoding: str) -> bytes:
    # how Python 3 writes bytes in protocol 2; the real codecs.encode would take any codec
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"refused: encoding {encoding}")
    return text.encode("latin1")


_ADMITTED: dict[str, Any] = {
    "numpy ndarray": _Array,
    "numpy dtype": _Dtype,
    "numpy.core.multiarray _reconstruct": _Array,  # before numpy 2
    "numpy._core.multiarray _reconstruct": _Array,
    "_codecs encode": _encode,
}


class _ArraysOnly(pickle.Unpickler):
    """Rebuilds uint8 arrays and plain containers; refuses every other name."""

    def find_class(self, module: str, name: str) -> Any:
        """What stands for `name`. Raises UnpicklingError unless it is admitted above."""
        try:
            return _ADMITTED[f"{module} {name}"]
        except KeyError:
            raise pickle.UnpicklingError(f"refused: it asks for {module}.{name}") from None
