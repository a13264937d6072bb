"""What goes home from a borrowed machine and back: results and the store, in a few files of limited size.

    index.json             parts in order with their SHA-256, and what was left behind
    results-<digest>.N     a zip file in pieces: everything small, and predictions
    weights-<digest>.N     a zip file in pieces: the originals' weights, which unlearning starts from

A trial's or Retrain's weights stay: nothing that is left to do reads them.
"""

import hashlib
import io
import json
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from core.checkpoint import WEIGHTS, write_atomically
from core.errors import BadInput
from core.seal import sealed, unsealed

INDEX, STORE, DECODED = "index.json", "store", "decoded"
MIB = 2**20
PART, TOTAL = 15 * MIB, 62 * MIB  # of the machines this was made for: 16 MiB a file, 64 MiB in all


class File(NamedTuple):
    """A file to take. path: below the visit's folder. rank: what goes first when not all fits."""

    path: str
    data: bytes
    rank: int


def pack(out: Path, home: Path, part: int = PART, total: int = TOTAL) -> list[str]:
    """Puts everything worth having into `home`, in pieces of at most `part` bytes; returns what did not fit.

    Sizes are judged before compression. What is there already and has not changed is left alone.
    """
    manifests = list(_manifests(out / STORE))
    taken, left = _chosen(
        [*_small_files(out), *_artifacts(out / STORE, manifests), *_states(out / STORE)], total
    )
    taken += _told(manifests, {file.path for file in taken})
    heavy = [file for file in taken if file.path.endswith(WEIGHTS)]
    rest = [file for file in taken if not file.path.endswith(WEIGHTS)]
    pieces = {**_pieces("weights", heavy, part), **_pieces("results", rest, part)}
    for name, data in pieces.items():
        if not (home / name).exists():
            write_atomically(home / name, data)
    parts = [{"name": name, "sha256": hashlib.sha256(data).hexdigest()} for name, data in pieces.items()]
    write_atomically(home / INDEX, json.dumps({"parts": parts, "left": left}, indent=1).encode())
    for old in [*home.glob("weights-*"), *home.glob("results-*")]:
        if old.name not in pieces:
            old.unlink()
    return left


def _chosen(files: list[File], total: int) -> tuple[list[File], list[str]]:
    """The files that fit, by rank; and a line for each that does not."""
    taken: list[File] = []
    left, size = [], 0
    for file in sorted(files, key=lambda file: (file.rank, file.path)):
        if size + len(file.data) <= total:
            taken.append(file)
            size += len(file.data)
        else:
            left.append(f"{file.path} ({len(file.data) / MIB:.1f} MiB)")
    return taken, left


def _told(manifests: list[dict[str, Any]], taken: set[str]) -> list[File]:
    """The manifests, which say of what stays behind that it was removed on purpose."""
    files = []
    for manifest in manifests:
        folder = f"{STORE}/artifacts/{manifest['key']}"
        gone = [name for name in manifest["files"] if f"{folder}/{name}" not in taken]
        data = sealed(manifest | {"removed": gone})
        files.append(File(f"{STORE}/manifests/{manifest['key']}.json", data, 0))
    return files


def unpack(home: Path, out: Path) -> list[str]:
    """Brings back what `out` does not have; returns a line for what is damaged. BadInput if there is no index."""
    try:
        parts = json.loads((home / INDEX).read_bytes())["parts"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadInput(f"{home} is not what a visit brought back: {INDEX}: {error}") from error
    damaged = []
    for kind in ("results", "weights"):
        named = [p for p in parts if p["name"].startswith(f"{kind}-")]
        data = [_whole(home / PurePosixPath(p["name"]).name, p["sha256"]) for p in named]
        if None in data:
            damaged.append(f"{kind} in {home} are damaged and will be computed again")
        elif data:
            _extract(b"".join(d for d in data if d is not None), out)
    return damaged


def _whole(path: Path, digest: str) -> bytes | None:
    data = path.read_bytes() if path.exists() else b""
    return data if hashlib.sha256(data).hexdigest() == digest else None


def _extract(data: bytes, out: Path) -> None:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for name in archive.namelist():
            path = PurePosixPath(name)
            if path.is_absolute() or ".." in path.parts:
                raise BadInput(f"{name!r:.80} leads out of the folder")
            if not (out / path).exists():
                write_atomically(out / path, archive.read(name))


def _pieces(kind: str, files: list[File], part: int) -> dict[str, bytes]:
    """A zip of the files, cut, by name; the same files give the same pieces."""
    if not files:
        return {}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for file in files:
            archive.writestr(zipfile.ZipInfo(file.path), file.data, zipfile.ZIP_DEFLATED, 1)
    whole = buffer.getvalue()
    digest = hashlib.sha256(whole).hexdigest()[:12]
    cuts = range(0, len(whole), part)
    return {f"{kind}-{digest}.{n}": whole[cut : cut + part] for n, cut in enumerate(cuts, 1)}


def _small_files(out: Path) -> Iterator[File]:
    """The stages' results, and the store's rows and notes. Others may be at work in these folders."""
    for path in _glob(out, "**/*"):
        if path.partition("/")[0] not in (STORE, DECODED):
            yield from _read(out, path, 0)
    for pattern in ("spec.json", "parts/*", "rows/*", "failures/*", "logs/*"):
        for path in _glob(out, f"{STORE}/{pattern}"):
            yield from _read(out, path, 0)


def _artifacts(store: Path, manifests: list[dict[str, Any]]) -> Iterator[File]:
    """Weights of originals, then predictions, first those that nothing has evaluated yet."""
    evaluated = {parent for m in manifests if m["kind"] == "evaluate" for parent in m["parents"]}
    for manifest in manifests:
        key = manifest["key"]
        for name in manifest["files"]:
            rank = 1 if name == WEIGHTS else 3 if key in evaluated else 2
            if name != WEIGHTS or manifest["kind"] == "original":
                yield from _read(store.parent, f"{STORE}/artifacts/{key}/{name}", rank)


def _states(store: Path) -> Iterator[File]:
    """What unfinished trainings left."""
    for path in _glob(store.parent, f"{STORE}/partial/*/*"):
        yield from _read(store.parent, path, 4)


def _manifests(store: Path) -> Iterator[dict[str, Any]]:
    for path in sorted(store.glob("manifests/*.json")):
        try:
            yield unsealed(path.read_bytes())
        except (OSError, ValueError):  # removed meanwhile, or broken: computed again
            continue


def _glob(folder: Path, pattern: str) -> list[str]:
    found = (p for p in folder.glob(pattern) if p.is_file() and not p.name.startswith("."))
    return sorted(p.relative_to(folder).as_posix() for p in found)


def _read(out: Path, path: str, rank: int) -> Iterator[File]:
    with suppress(OSError):  # whoever committed a node took its state away
        yield File(path, (out / path).read_bytes(), rank)
