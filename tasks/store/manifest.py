"""What a finished node left, as its manifest says: checked field by field before anything is made of it."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import Field, TypeAdapter
from typing_extensions import TypedDict

from core.seal import sealed, unsealed
from tasks.node import Kind, Node
from tasks.record import Newer, Record, refuse_newer

MISSING = "is missing"


class Corrupt(Exception):
    """A finished node's file is missing or is not what its manifest says."""

    def __init__(self, key: str, name: str, why: str) -> None:
        super().__init__(f"{name} of node {key[:12]} {why}")
        self.key, self.name, self.why = key, name, why

    @property
    def missing(self) -> bool:
        """Whether there is no such file at all."""
        return self.why == MISSING

    def __reduce__(self) -> tuple[Any, ...]:
        return Corrupt, (self.key, self.name, self.why)


class Fingerprint(TypedDict):
    """Size and SHA-256, in hex, of a file."""

    bytes: Annotated[int, Field(ge=0)]
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


@dataclass(frozen=True)
class Manifest:
    """What a finished node left: its files with size and SHA-256, small facts, and its row.

    part: fingerprint of the row's own file; None where an older version wrote none.
    """

    key: str
    files: dict[str, Fingerprint]
    facts: dict[str, Any]
    record: Record
    removed: tuple[str, ...] = ()
    part: Fingerprint | None = None


class _Data(TypedDict):
    digest: str
    classes: Annotated[int, Field(ge=1)]


class _Trial(TypedDict):
    point: dict[str, Any]
    looks: Annotated[list[int], Field(min_length=1)]


class _Search(TypedDict):
    trials: list[_Trial]
    finalists: list[str]


@dataclass(frozen=True)
class _Description:
    kind: Kind
    parents: tuple[str, ...]
    inputs: dict[str, Any] = field(hash=False)


_MANIFEST, _DESCRIPTION = TypeAdapter(Manifest), TypeAdapter(_Description)
# facts that other nodes and commands read, by the kind of node that leaves them
_FACTS: dict[str, TypeAdapter[Any]] = {"data": TypeAdapter(_Data), "search": TypeAdapter(_Search)}


def fingerprint(data: bytes) -> Fingerprint:
    """Of a file's bytes."""
    return {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def packed(
    node: Node, files: Mapping[str, bytes], facts: Mapping[str, Any], record: Record, part: bytes
) -> bytes:
    """A manifest's file. part: the bytes of the row's own file."""
    return sealed(
        {
            "key": node.key,
            "kind": node.kind,
            "parents": node.parents,
            "inputs": node.inputs,
            "files": {name: fingerprint(data) for name, data in files.items()},
            "part": fingerprint(part),
            "facts": dict(facts),
            "record": record.model_dump(mode="json"),
        }
    )


def parsed(key: str, data: bytes | None) -> Manifest:
    """The manifest of a node from its file; Corrupt if that is missing, altered, or no manifest of this node."""
    if data is None:
        raise Corrupt(key, "manifest", MISSING)
    try:
        values = unsealed(data)
        _refuse_newer(key, values)
        found: Manifest = _MANIFEST.validate_python(values)
        if found.record.kind in _FACTS:
            _FACTS[found.record.kind].validate_python(found.facts)
    except Newer:
        raise
    except ValueError as error:
        raise Corrupt(key, "manifest", f"cannot be read: {' '.join(str(error).split()):.160}") from error
    for name in (found.key, found.record.key):
        if name != key:
            raise Corrupt(key, "manifest", f"is that of {name[:12]}")
    return found


def described(key: str, data: bytes | None) -> Node | None:
    """A finished node as its manifest describes it; None if that is missing or broken."""
    try:
        found = _DESCRIPTION.validate_python(unsealed(data or b""))
    except ValueError:
        return None
    return Node(found.kind, key, found.parents, found.inputs)


def part_named(key: str, data: bytes | None) -> Fingerprint | None:
    """The fingerprint that a node's manifest names of its part; ValueError if the manifest is missing or broken.

    None in a manifest of an older version. Looks at nothing else, so that thousands cost little.
    """
    values = unsealed(data or b"")
    if values.get("key") != key:
        raise ValueError(f"it is that of {values.get('key')!r:.20}")
    named: Fingerprint | None = values.get("part")
    return named


def _refuse_newer(key: str, values: dict[str, Any]) -> None:
    record = values.get("record")
    refuse_newer(record.get("schema_version") if isinstance(record, dict) else None, f"node {key[:12]}")
