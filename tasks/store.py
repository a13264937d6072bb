"""The store: every result of a grid as files under one URI, readable while it is written.

manifests/<key>.json   a node is finished when this exists; written last
parts/<key>.parquet    its row
artifacts/<key>/…      its files (weights, predictions)
failures/<key>.json    why a node failed, until it succeeds
logs/<key>.log         traceback of a failure
quarantine/…           what was found corrupt
spec.json              the grid that ran here last
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

from core.checkpoint import write_atomically
from core.errors import BadInput
from tasks.node import Node
from tasks.record import Record, to_parquet


class Corrupt(Exception):
    """A finished node's file is missing or is not what its manifest says."""

    def __init__(self, key: str, name: str, why: str) -> None:
        super().__init__(f"{name} of node {key[:12]} {why}")
        self.key, self.name, self.why = key, name, why

    def __reduce__(self) -> tuple[Any, ...]:
        return Corrupt, (self.key, self.name, self.why)


@dataclass(frozen=True)
class Manifest:
    """What a finished node left: its files with size and SHA-256, small facts, and its row."""

    key: str
    files: dict[str, dict[str, Any]]
    facts: dict[str, Any]
    record: Record
    removed: tuple[str, ...] = ()


class Store:
    """Whole-file reads and atomic whole-file writes below a URI (a folder, or any fsspec address)."""

    def __init__(self, uri: str) -> None:
        self.fs, self.root = fsspec.core.url_to_fs(uri)
        self.uri = uri
        self.local = isinstance(self.fs, LocalFileSystem)

    # files

    def path(self, name: str) -> str:
        """The full path of a name inside the store."""
        return str(PurePosixPath(self.root) / name)

    def put(self, name: str, data: bytes) -> None:
        """Writes a file so that readers see all of it or nothing (object stores do so by themselves)."""
        if self.local:
            write_atomically(Path(self.path(name)), data)
        else:
            self.fs.pipe_file(self.path(name), data)

    def get(self, name: str) -> bytes:
        """A file's bytes; FileNotFoundError if there is none."""
        data: bytes = self.fs.cat_file(self.path(name))
        return data

    def names(self, folder: str) -> list[str]:
        """File names directly in a folder of the store, unfinished writes left out."""
        try:
            found = self.fs.ls(self.path(folder), detail=False)
        except FileNotFoundError:
            return []
        return sorted(n for n in (PurePosixPath(p).name for p in found) if not n.startswith("."))

    def remove(self, name: str) -> None:
        """Removes a file or folder if it is there."""
        if self.fs.exists(self.path(name)):
            self.fs.rm(self.path(name), recursive=True)

    def check_writable(self) -> None:
        """Raises BadInput if nothing can be written here."""
        try:
            self.put("probe", b"")
            self.remove("probe")
        except OSError as error:
            raise BadInput(
                f"store {self.uri} cannot be written ({error.strerror or error}); choose another with --store"
            ) from error

    # nodes

    def finished(self) -> set[str]:
        """Keys of the finished nodes."""
        return {name.removesuffix(".json") for name in self.names("manifests")}

    def commit(
        self, node: Node, files: Mapping[str, bytes], facts: Mapping[str, Any], record: Record
    ) -> None:
        """Files, then the row, then the manifest; a second commit of the same node changes nothing that matters."""
        for name, data in files.items():
            self.put(f"artifacts/{node.key}/{name}", data)
        self.put(f"parts/{node.key}.parquet", to_parquet(record))
        manifest = {
            "key": node.key,
            "kind": node.kind,
            "parents": node.parents,
            "inputs": node.inputs,
            "files": {name: _fingerprint(data) for name, data in files.items()},
            "facts": dict(facts),
            "record": record.model_dump(mode="json"),
        }
        self.put(f"manifests/{node.key}.json", json.dumps(manifest, indent=1).encode())
        self.remove(f"failures/{node.key}.json")

    def manifest(self, key: str) -> Manifest:
        """The manifest of a finished node; Corrupt if it cannot be read."""
        try:
            raw = json.loads(self.get(f"manifests/{key}.json"))
            record = Record.model_validate(raw["record"])
            return Manifest(key, raw["files"], raw["facts"], record, tuple(raw.get("removed", ())))
        except (OSError, ValueError, KeyError) as error:
            raise Corrupt(key, "manifest", f"cannot be read: {error!r:.80}") from error

    def read(self, key: str, name: str) -> bytes:
        """A file of a finished node; Corrupt if it is missing or altered."""
        expected = self.manifest(key).files[name]
        try:
            data = self.get(f"artifacts/{key}/{name}")
        except FileNotFoundError as error:
            raise Corrupt(key, name, "is missing") from error
        if _fingerprint(data) != expected:
            raise Corrupt(key, name, f"is not what was written ({len(data)} of {expected['bytes']} bytes)")
        return data

    def file_sizes(self) -> dict[str, int]:
        """Bytes of every artifact, by `<key>/<name>`, in one listing."""
        root = self.path("artifacts")
        try:
            found = self.fs.find(root, detail=True)
        except FileNotFoundError:
            return {}
        return {str(PurePosixPath(path).relative_to(root)): int(info["size"]) for path, info in found.items()}

    def drop_file(self, key: str, name: str) -> None:
        """Removes one file of a finished node on purpose and notes it in the manifest."""
        raw = json.loads(self.get(f"manifests/{key}.json"))
        if name in raw["files"] and name not in raw.get("removed", ()):
            raw["removed"] = [*raw.get("removed", ()), name]
            self.put(f"manifests/{key}.json", json.dumps(raw, indent=1).encode())
        self.remove(f"artifacts/{key}/{name}")

    def forget_node(self, key: str) -> None:
        """Makes a node unfinished; its row and files stay until it is computed again."""
        self.remove(f"manifests/{key}.json")

    def quarantine(self, key: str) -> None:
        """Moves everything a node left out of the way, so that it is computed again."""
        for name in (f"manifests/{key}.json", f"parts/{key}.parquet", f"artifacts/{key}"):
            if self.fs.exists(self.path(name)):
                target = self.path(f"quarantine/{name}")
                self.fs.makedirs(str(PurePosixPath(target).parent), exist_ok=True)
                if self.fs.exists(target):
                    self.fs.rm(target, recursive=True)
                self.fs.mv(self.path(name), target, recursive=True)

    # failures

    def note_failure(self, record: Record, trace: str) -> None:
        """Records a failed node: its row, its log and its reason; not if another attempt finished it."""
        if self.fs.exists(self.path(f"manifests/{record.key}.json")):
            return
        self.put(f"logs/{record.key}.log", trace.encode())
        self.put(f"parts/{record.key}.parquet", to_parquet(record))
        self.put(f"failures/{record.key}.json", record.model_dump_json().encode())

    def failures(self) -> dict[str, Record]:
        """Failed nodes by key."""
        names = self.names("failures")
        return {n.removesuffix(".json"): Record.model_validate_json(self.get(f"failures/{n}")) for n in names}


def _fingerprint(data: bytes) -> dict[str, Any]:
    return {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
