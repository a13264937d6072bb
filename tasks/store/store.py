"""The store: every result of a grid as files under one URI, readable while it is written.

manifests/<key>.json   a node is finished when this exists; written last
parts/<key>.parquet    its row
rows/<sha256>.parquet  rows of many finished nodes, in the place of their parts (see orchestrator.results.merged_rows)
artifacts/<key>/…      its files (weights, predictions)
failures/<key>.json    why a node failed, until it succeeds
logs/<key>.log         traceback of a failure
quarantine/…           what was found corrupt
partial/<key>/…        the state of a long training that is not finished
scored/<key>.<score>   a score of an evaluation or selection: the keys of both
kept/<key>             a trial whose weights a selection in this store chose
spec.json              the grid that ran here last
grids/<name>.json      every grid that ran here (see orchestrator.results.known_grids)
version.json           the newest version of the row schema that wrote here
lease.json             the driver that works on it now (see tasks.store.lease)
"""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter
from pydantic_core import from_json

from core.errors import BadInput
from tasks.node import Node
from tasks.record import Record, refuse_newer, to_parquet
from tasks.store.files import Files

_KEY = re.compile(r"[0-9a-f]{64}")
_NAME = re.compile(r"[\w-][\w.-]*")
_MISSING = "is missing"


class Corrupt(Exception):
    """A finished node's file is missing or is not what its manifest says."""

    def __init__(self, key: str, name: str, why: str) -> None:
        super().__init__(f"{name} of node {key[:12]} {why}")
        self.key, self.name, self.why = key, name, why

    @property
    def missing(self) -> bool:
        """Whether there is no such file at all."""
        return self.why == _MISSING

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


_MANIFEST = TypeAdapter(Manifest)


class Store(Files):
    """A grid's nodes below a URI. Keys are checked wherever they become paths: 64 hex digits, nothing else."""

    def finished(self) -> set[str]:
        """Keys of the finished nodes."""
        return self._keys("manifests", ".json")

    def commit(
        self, node: Node, files: Mapping[str, bytes], facts: Mapping[str, Any], record: Record
    ) -> None:
        """Files, then the row, then the manifest; a second commit of the same node changes nothing that matters.

        Only the manifest makes a node finished, so a commit that is cut off anywhere leaves it unfinished.
        """
        key = _key(node.key)
        for name, data in files.items():
            self.put(f"artifacts/{key}/{_name(name)}", data)
        self.put(f"parts/{key}.parquet", to_parquet(record))
        manifest = {
            "key": key,
            "kind": node.kind,
            "parents": node.parents,
            "inputs": node.inputs,
            "files": {name: _fingerprint(data) for name, data in files.items()},
            "facts": dict(facts),
            "record": record.model_dump(mode="json"),
        }
        self.put(f"manifests/{key}.json", json.dumps(manifest).encode())
        self.remove(f"failures/{key}.json")
        self.remove(self.partial(key))

    def partial(self, key: str) -> str:
        """The folder for what an unfinished node leaves, see `tasks.nodes.unfinished`; gone once it is committed."""
        return f"partial/{_key(key)}"

    def manifest(self, key: str) -> Manifest:
        """The manifest of a finished node; Corrupt if it is missing or broken."""
        return self.manifests([key])[key]

    def manifests(self, keys: Iterable[str], broken: dict[str, Corrupt] | None = None) -> dict[str, Manifest]:
        """The manifests of finished nodes, read at once. What is broken is added to `broken`, or raised."""
        names = {key: f"manifests/{_key(key)}.json" for key in keys}
        contents, found = self.get_many(names.values()), {}
        for key, name in names.items():
            try:
                found[key] = _parsed(key, contents[name])
            except Corrupt as error:
                if broken is None:
                    raise
                broken[key] = error
        return found

    def nodes(self, keys: Iterable[str]) -> dict[str, Node]:
        """Finished nodes as their manifests describe them; those whose manifest is missing or broken are left out."""
        names, found = {key: f"manifests/{_key(key)}.json" for key in keys}, {}
        contents = self.get_many(names.values())
        for key, name in names.items():
            with suppress(ValueError, KeyError, TypeError):
                raw = from_json(contents[name] or b"")
                found[key] = Node(raw["kind"], key, tuple(raw["parents"]), dict(raw["inputs"]))
        return found

    def read(self, key: str, name: str) -> bytes:
        """A file of a finished node; Corrupt if it is missing or altered."""
        expected = self.manifest(key).files.get(name)
        if expected is None:
            raise Corrupt(key, name, "is not in its manifest")
        try:
            data = self.get(f"artifacts/{_key(key)}/{_name(name)}")
        except FileNotFoundError as error:
            raise Corrupt(key, name, _MISSING) from error
        if _fingerprint(data) != expected:
            raise Corrupt(key, name, f"is not what was written ({len(data)} of {expected['bytes']} bytes)")
        return data

    def file_sizes(self) -> dict[str, int]:
        """Bytes of every artifact, by `<key>/<name>`, in one listing."""
        return self.sizes("artifacts")

    def drop_file(self, key: str, name: str) -> None:
        """Removes one file of a finished node on purpose, after noting it in the manifest."""
        manifest = f"manifests/{_key(key)}.json"
        data = self.find(manifest)
        if data is None:  # set aside meanwhile
            return
        raw = json.loads(data)
        if name in raw["files"] and name not in raw.get("removed", ()):
            raw["removed"] = [*raw.get("removed", ()), name]
            self.put(manifest, json.dumps(raw).encode())
        self.remove(f"artifacts/{key}/{_name(name)}")

    def keep(self, key: str) -> None:
        """Notes that a selection chose this trial: its weights stay."""
        self.put(f"kept/{_key(key)}", b"")

    def kept(self) -> set[str]:
        """Trials that a selection in this store chose."""
        return self._keys("kept")

    def note_score(self, about: str, score: str) -> None:
        """Notes that a score is about a node, so that whoever reads that node's row finds it; before its commit."""
        self.put(f"scored/{_key(about)}.{_key(score)}", b"")

    def scores(self) -> dict[str, set[str]]:
        """The scores about each node, whether they are finished or only begun."""
        found: dict[str, set[str]] = {}
        for name in self.names("scored"):
            about, _, score = name.partition(".")
            if _KEY.fullmatch(about) and _KEY.fullmatch(score):
                found.setdefault(about, set()).add(score)
        return found

    def forget_node(self, key: str) -> None:
        """Makes a node unfinished; its row and files stay until it is computed again."""
        part = f"parts/{_key(key)}.parquet"
        if not self.exists(part):  # merged rows are those of finished nodes
            for manifest in self.manifests([key], broken={}).values():
                self.put(part, to_parquet(manifest.record))
        self.remove(f"manifests/{key}.json")

    def quarantine(self, key: str) -> None:
        """Moves everything a node left out of the way, its manifest first, so that it is computed again."""
        for name in (f"manifests/{_key(key)}.json", f"parts/{key}.parquet", f"artifacts/{key}"):
            if self.exists(name):
                self.remove(f"quarantine/{name}")
                self.move(name, f"quarantine/{name}")
                self.remove(name)  # the empty folder, where there are folders

    # failures

    def note_failure(self, record: Record, trace: str) -> None:
        """Records a failed node: its row, its log and its reason; not if another attempt finished it."""
        if self.exists(f"manifests/{_key(record.key)}.json"):
            return
        self.put(f"logs/{record.key}.log", trace.encode())
        self.put(f"parts/{record.key}.parquet", to_parquet(record))
        self.put(f"failures/{record.key}.json", record.model_dump_json().encode())
        if record.error_kind == "numeric":  # going on from there would diverge again
            self.remove(self.partial(record.key))

    def failures(self) -> dict[str, Record]:
        """Failed nodes by key."""
        names = {key: f"failures/{key}.json" for key in self._keys("failures", ".json")}
        contents = self.get_many(names.values())
        found = {key: contents[name] for key, name in names.items()}
        # one that another driver's success has just removed is no failure
        there = {key: from_json(data) for key, data in found.items() if data is not None}
        for key, row in there.items():
            refuse_newer(row.get("schema_version"), f"node {key[:12]} in store {self.uri}")
        return {key: Record.model_validate(row) for key, row in there.items()}

    def _keys(self, folder: str, ending: str = "") -> set[str]:
        """The keys that name files of a folder; whatever else lies there is not ours."""
        stems = (name.removesuffix(ending) for name in self.names(folder) if name.endswith(ending))
        return {stem for stem in stems if _KEY.fullmatch(stem)}


def _parsed(key: str, data: bytes | None) -> Manifest:
    if data is None:
        raise Corrupt(key, "manifest", _MISSING)
    try:
        found: Manifest = _MANIFEST.validate_json(data)
    except ValueError as error:
        _refuse_newer_manifest(key, data)
        raise Corrupt(key, "manifest", f"cannot be read: {error!r:.80}") from error
    if found.key != key:
        raise Corrupt(key, "manifest", f"is that of {found.key[:12]}")
    refuse_newer(found.record.schema_version, f"node {key[:12]}")
    return found


def _refuse_newer_manifest(key: str, data: bytes) -> None:
    """What a later version has written is not corrupt, and not to be set aside."""
    try:
        version = from_json(data)["record"]["schema_version"]
    except (ValueError, KeyError, TypeError):
        return
    refuse_newer(version, f"node {key[:12]}")


def _key(key: str) -> str:
    """The key, which becomes part of a path; BadInput unless it is what `make_node` gives."""
    if not _KEY.fullmatch(key):
        raise BadInput(f"{key!r:.80} is no node's key: 64 hex digits")
    return key


def _name(name: str) -> str:
    """A file name, which becomes part of a path; BadInput for anything with folders in it."""
    if not _NAME.fullmatch(name):
        raise BadInput(f"{name!r:.80} is no file name of a node")
    return name


def _fingerprint(data: bytes) -> dict[str, Any]:
    return {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
