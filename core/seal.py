"""JSON files that carry the digest of their own contents: `{"seal": "<SHA-256>", …}`, over every byte behind it.

Whoever reads one knows that it is as it was written, down to a bit; an older file without a seal still reads.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from pydantic_core import from_json

_HEAD, _TAIL = b'{"seal": "', b'", '
_DIGITS = 64  # of a SHA-256


def sealed(values: Mapping[str, Any], indent: int | None = None) -> bytes:
    """JSON values, at least one, as the bytes of a file; `unsealed` is the inverse."""
    body = json.dumps(dict(values), indent=indent).encode()[1:]
    return _HEAD + hashlib.sha256(body).hexdigest().encode() + _TAIL + body


def is_sealed(data: bytes) -> bool:
    """Whether a file has a seal, right or wrong."""
    return data.startswith(_HEAD)


def unsealed(data: bytes) -> dict[str, Any]:
    """The values in a file, sealed or from before there were seals, without the seal.

    ValueError for what is no JSON mapping (however deep it is nested), and for a seal that does not fit the rest.
    """
    if is_sealed(data) and not _fits(data):
        raise ValueError("it is not as it was written: its seal is another")
    values = from_json(data)
    if not isinstance(values, dict):
        raise ValueError(f"it holds a {type(values).__name__}, not a mapping")
    if is_sealed(data):
        del values["seal"]
    return values


def _fits(data: bytes) -> bool:
    end = len(_HEAD) + _DIGITS
    body = data[end + len(_TAIL) :]
    found = hashlib.sha256(body).hexdigest().encode()
    return data[end : end + len(_TAIL)] == _TAIL and data[len(_HEAD) : end] == found
