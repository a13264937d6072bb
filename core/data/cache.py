"""Decode once: the arrays of a dataset as .npy files that every later run maps into memory.

`<cache>/<name>-<fingerprint>/` holds the four arrays and manifest.json. The fingerprint covers what the
arrays were decoded from, so that changed files get an entry of their own. An entry is written to a
temporary folder, manifest last, and renamed: it is there as a whole or not at all.

The first time that a process opens an entry it reads all of it and compares the digest, which takes as long as the
images take to reach the device anyway; from then on, as long as sizes and times of the files stay. The manifest
carries a seal (core.seal).
"""

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock

from core.data.readers import ARRAYS, Arrays
from core.errors import BadInput
from core.seal import sealed, unsealed

MANIFEST = "manifest.json"
# entries that this process has read whole, with their files' stamps
_VERIFIED: dict[Path, list[tuple[int, int, int]]] = {}


def cached(
    folder: Path, name: str, identity: Mapping[str, Any], build: Callable[[], Arrays]
) -> tuple[Arrays, str]:
    """The arrays, mapped copy-on-write, and the SHA-256 over them, in hex.

    `identity` says what `build` decodes, in JSON values. Several processes may ask at once: one builds, the
    others wait. An entry with a missing or truncated file is built again. Raises BadInput if `folder` has no
    such entry and cannot be written, and whatever `build` raises.
    """
    entry = folder / f"{name}-{_fingerprint(identity)}"
    opened = _opened(entry)
    if opened is not None:  # needs no lock, hence no permission to write
        return opened
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{entry}.lock"):
            return _opened(entry) or _written(entry, identity, build())
    except (OSError, NotImplementedError) as error:  # the latter: a disk without file locks
        raise BadInput(f"the data cache {folder} cannot be written ({error}); name another folder") from error


def held(folder: Path, name: str, identity: Mapping[str, Any]) -> tuple[Arrays, str] | None:
    """What the cache holds, as `cached` gives it; None where it would have to be decoded."""
    return _opened(folder / f"{name}-{_fingerprint(identity)}")


def recorded_digest(folder: Path, name: str, identity: Mapping[str, Any]) -> str | None:
    """The SHA-256 that an entry's manifest gives, without a look at the arrays; None if there is no such entry."""
    try:
        return str(unsealed((folder / f"{name}-{_fingerprint(identity)}" / MANIFEST).read_bytes())["digest"])
    except (OSError, ValueError, KeyError):
        return None


def digest(arrays: Arrays) -> str:
    """SHA-256, hex, over names, types, shapes and bytes of the arrays."""
    total = hashlib.sha256()
    for field, array in arrays.values().items():
        total.update(f"{field} {array.dtype.str} {array.shape}\n".encode())
        total.update(np.ascontiguousarray(array).data)
    return total.hexdigest()


def _fingerprint(identity: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:12]


def _opened(entry: Path) -> tuple[Arrays, str] | None:
    """The entry, None if it is absent or not what its manifest says."""
    try:
        manifest = unsealed((entry / MANIFEST).read_bytes())
        shapes = manifest["arrays"]
        mapped = {field: _mapped(entry / f"{field}.npy", shapes[field]) for field in ARRAYS}
        remarks = tuple(map(str, manifest.get("remarks", ())))
        arrays = Arrays(**mapped, mapping=str(manifest.get("mapping", "")), remarks=remarks)
        _verify(entry, arrays, manifest["digest"])
        return arrays, str(manifest["digest"])
    except (OSError, EOFError, ValueError, KeyError, TypeError):
        return None


def _verify(entry: Path, arrays: Arrays, expected: object) -> None:
    """ValueError unless the arrays have the digest; looked at once in a process, and when the files have changed."""
    stats = (path.stat() for path in sorted(entry.glob("*.npy")))
    stamps = [(stat.st_ino, stat.st_size, stat.st_mtime_ns) for stat in stats]
    if _VERIFIED.get(entry) == stamps:
        return
    if digest(arrays) != expected:
        raise ValueError(f"{entry} does not hold what was decoded")
    _VERIFIED[entry] = stamps


def _mapped(path: Path, expected: Mapping[str, Any]) -> Any:
    if path.stat().st_size != expected["bytes"]:
        raise ValueError(f"{path} has not the size in the manifest")
    # "c": torch warns of read-only arrays, and a slip of the caller must not reach the file
    array = np.load(path, mmap_mode="c", allow_pickle=False)
    if [array.dtype.str, list(array.shape)] != [expected["dtype"], expected["shape"]]:
        raise ValueError(f"{path} has not the shape in the manifest")
    return array


def _written(entry: Path, identity: Mapping[str, Any], arrays: Arrays) -> tuple[Arrays, str]:
    """Write the entry in place of what is left of an earlier one, under the lock."""
    partial = entry.with_name(f".{entry.name}.partial")  # one name: what a killed process left goes now
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        said = {"mapping": arrays.mapping, "remarks": arrays.remarks}
        manifest = {**identity, **said, "digest": digest(arrays), "arrays": _saved(partial, arrays)}
        (partial / MANIFEST).write_bytes(sealed(manifest, indent=1))
        shutil.rmtree(entry, ignore_errors=True)
        partial.rename(entry)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    opened = _opened(entry)
    if opened is None:
        raise OSError(f"{entry} does not hold what was just written")
    return opened


def _saved(folder: Path, arrays: Arrays) -> dict[str, dict[str, Any]]:
    """Save each array; its type, shape and size on disk in bytes."""
    shapes = {}
    for field, array in arrays.values().items():
        path = folder / f"{field}.npy"
        np.save(path, np.ascontiguousarray(array), allow_pickle=False)
        size = path.stat().st_size
        shapes[field] = {"dtype": array.dtype.str, "shape": list(array.shape), "bytes": size}
    return shapes
