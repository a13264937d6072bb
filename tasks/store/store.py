"""The store: every result of a grid as files under one URI, readable while it is written.

manifests/<key>.json   a node is finished when this exists; written last
parts/<key>.parquet    its row
rows/<sha256>.parquet  rows of many finished nodes, in the place of their parts (see orchestrator.results.merged_rows)
artifacts/<key>/…      its files (weights, predictions)
failures/<key>.json    why a node failed, until it succeeds
logs/<key>.log         traceback of a failure
quarantine/…           what was found corrupt
partial/<key>/…        the state of a long training that is not finished
running/<key>.json     how far a node at work is (see tasks.store.running)
scored/<key>.<score>   a score of an evaluation or selection: the keys of both
kept/<key>             a trial whose weights a selection in this store chose
processors/<kind>.json in what machines of a kind compute (see tasks.nodes.arithmetic)
spec.json              the grid that ran here last
grids/<name>.json      every grid that ran here (see orchestrator.results.known_grids)
version.json           the newest version of the row schema that wrote here
lease.json             the driver that works on it now (see tasks.store.lease)

All of it is a stranger's data, and read as such. Manifests, failures and grids carry a seal (core.seal), a manifest
names the SHA-256 of the node's part and files, merged rows and saved states are named by theirs, and a part holds
its row's: what was altered, cut, swapped or put back is found when it is read. Files from before that still read,
with the checks that they allow. Links are not followed (tasks.store.local).
"""

import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any

from core.errors import BadInput
from core.seal import sealed, unsealed
from tasks.node import Node
from tasks.record import Newer, Record, refuse_newer, to_parquet
from tasks.store import manifest
from tasks.store.files import Files
from tasks.store.manifest import MISSING, Corrupt, Fingerprint, Manifest, fingerprint

_KEY = re.compile(r"[0-9a-f]{64}")
_NAME = re.compile(r"[\w-][\w.-]*")


class Store(Files):
    """A grid's nodes below a URI. Keys are checked wherever they become paths: 64 hex digits, nothing else."""

    def finished(self) -> set[str]:
        """Keys of the finished nodes."""
        return self._keys("manifests", ".json")

    def parts(self) -> set[str]:
        """Keys of the nodes that have a part: finished, failed, or to be computed again."""
        return self._keys("parts", ".parquet")

    def commit(
        self, node: Node, files: Mapping[str, bytes], facts: Mapping[str, Any], record: Record
    ) -> None:
        """Files, then the row, then the manifest; a second commit of the same node changes nothing that matters.

        Only the manifest makes a node finished, so a commit that is cut off anywhere leaves it unfinished.
        """
        key = _key(node.key)
        for name, data in files.items():
            self.put(f"artifacts/{key}/{_name(name)}", data)
        part = to_parquet(record)
        self.put(f"parts/{key}.parquet", part)
        self.put(f"manifests/{key}.json", manifest.packed(node, files, facts, record, part))
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
                found[key] = manifest.parsed(key, contents[name])
            except Corrupt as error:
                if broken is None:
                    raise
                broken[key] = error
        return found

    def nodes(self, keys: Iterable[str]) -> dict[str, Node]:
        """Finished nodes as their manifests describe them; those whose manifest is missing or broken are left out."""
        names = {key: f"manifests/{_key(key)}.json" for key in keys}
        contents = self.get_many(names.values())
        found = {key: manifest.described(key, contents[name]) for key, name in names.items()}
        return {key: node for key, node in found.items() if node is not None}

    def parts_named(self, keys: Iterable[str]) -> dict[str, Fingerprint | None]:
        """The fingerprints that manifests name of their nodes' parts, None in those of an older version.

        Nodes whose manifest is missing or broken are left out.
        """
        names, found = {key: f"manifests/{_key(key)}.json" for key in keys}, {}
        contents = self.get_many(names.values())
        for key, name in names.items():
            with suppress(ValueError):
                found[key] = manifest.part_named(key, contents[name])
        return found

    def read(self, key: str, name: str) -> bytes:
        """A file of a finished node; Corrupt if it is missing or altered."""
        expected = self.manifest(key).files.get(name)
        if expected is None:
            raise Corrupt(key, name, "is not in its manifest")
        try:
            data = self.get(f"artifacts/{_key(key)}/{_name(name)}")
        except FileNotFoundError as error:
            raise Corrupt(key, name, MISSING) from error
        if fingerprint(data) != expected:
            raise Corrupt(key, name, f"is not what was written ({len(data)} of {expected['bytes']} bytes)")
        return data

    def file_sizes(self) -> dict[str, int]:
        """Bytes of every artifact, by `<key>/<name>`, in one listing."""
        return self.sizes("artifacts")

    def drop_file(self, key: str, name: str) -> None:
        """Removes one file of a finished node on purpose, after noting it in the manifest."""
        if self._amend(key, partial(_noted, name)):
            self.remove(f"artifacts/{key}/{_name(name)}")

    def restore_part(self, key: str, record: Record) -> None:
        """Writes a finished node's part again from the row that its manifest holds, and has the manifest name it."""
        part = to_parquet(record)
        self.put(f"parts/{_key(key)}.parquet", part)
        self._amend(key, lambda _: {"part": fingerprint(part)})

    def _amend(self, key: str, change: Callable[[dict[str, Any]], dict[str, Any]]) -> bool:
        """Changes fields of a manifest; False for one that is gone or broken, which a run sets aside."""
        name = f"manifests/{_key(key)}.json"
        try:
            values = unsealed(self.find(name) or b"")
            changed = values | change(values)
        except (ValueError, TypeError):
            return False
        if changed != values:
            self.put(name, sealed(changed))
        return True

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
            for found in self.manifests([key], broken={}).values():
                self.put(part, to_parquet(found.record))
        self.remove(f"manifests/{key}.json")

    def quarantine(self, key: str) -> None:
        """Moves everything a node left out of the way, its manifest first, so that it is computed again."""
        for name in (f"manifests/{_key(key)}.json", f"parts/{key}.parquet", f"artifacts/{key}"):
            self.set_aside(name)

    # failures

    def note_failure(self, record: Record, trace: str) -> None:
        """Records a failed node: its row, its log and its reason; not if another attempt finished it."""
        if self.exists(f"manifests/{_key(record.key)}.json"):
            return
        self.put(f"logs/{record.key}.log", trace.encode())
        self.put(f"parts/{record.key}.parquet", to_parquet(record))
        self.put(f"failures/{record.key}.json", sealed(record.model_dump(mode="json")))
        if record.error_kind == "numeric":  # going on from there would diverge again
            self.remove(self.partial(record.key))

    def failed(self) -> set[str]:
        """Keys of the failed nodes."""
        return self._keys("failures", ".json")

    def failures(self, broken: dict[str, str] | None = None) -> dict[str, Record]:
        """Failed nodes by key. Why a file is none is added to `broken`, by its name; Newer for a later version's."""
        names = {key: f"failures/{key}.json" for key in self.failed()}
        contents, found = self.get_many(names.values()), {}
        for key, name in names.items():
            data = contents[name]
            # one that another driver's success has just removed is no failure
            if data is None and not self.exists(name):
                continue
            try:
                found[key] = self._failure(key, data or b"")
            except Newer:
                raise
            except ValueError as error:
                if broken is not None:
                    broken[name] = " ".join(str(error).split())
        return found

    def _failure(self, key: str, data: bytes) -> Record:
        values = unsealed(data)
        refuse_newer(values.get("schema_version"), f"node {key[:12]} in store {self.uri}")
        record = Record.model_validate(values)
        if record.key != key or record.status == "done":
            raise ValueError(f"it is no failure of this node: {record.status} {record.key:.12}")
        return record

    def _keys(self, folder: str, ending: str = "") -> set[str]:
        """The keys that name files of a folder; whatever else lies there is not ours."""
        stems = (name.removesuffix(ending) for name in self.names(folder) if name.endswith(ending))
        return {stem for stem in stems if _KEY.fullmatch(stem)}


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


def _noted(name: str, values: dict[str, Any]) -> dict[str, Any]:
    """The files of a manifest that were removed on purpose, with one more if it is among them."""
    removed = list(values.get("removed", ()))
    return {
        "removed": removed if name in removed or name not in values.get("files", ()) else [*removed, name]
    }
