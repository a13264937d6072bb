"""Fetch one published file: to a temporary name, checked against its sum, then renamed, under a file lock."""

import hashlib
import urllib.request
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError

from filelock import FileLock

from core.errors import BadInput

CHUNK = 1 << 20  # bytes
SILENCE = 60.0  # seconds without a byte before a server is given up


@dataclass(frozen=True)
class Remote:
    """A file to download: its address, its name under the data root (with its folders), its MD5 in hex."""

    url: str
    file: str
    md5: str


def fetch(remote: Remote, root: Path) -> Path:
    """The path of `remote.file` under `root`, downloaded unless it is there already.

    Several processes may ask at once: one downloads, the others wait and find the file. Raises BadInput
    (one line with the address) when the network, the server, the disk or the checksum says no.
    """
    target = root / remote.file
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(target.with_name(f".{target.name}.lock")):
            if not target.exists():
                _download(remote, target)
    except (OSError, HTTPException, NotImplementedError) as error:  # the last: a disk without file locks
        raise BadInput(f"download of {remote.url} to {target} failed ({_reason(error)})") from error
    return target


def _download(remote: Remote, target: Path) -> None:
    part = target.with_name(f".{target.name}.part")
    try:
        found = _stream(remote.url, part)
        if found != remote.md5:
            raise BadInput(f"download of {remote.url} is damaged (md5 expected {remote.md5}, found {found})")
        part.replace(target)
    except HTTPError as error:
        error.close()  # it holds the connection
        raise
    finally:
        part.unlink(missing_ok=True)


def _stream(url: str, part: Path) -> str:
    """Write what `url` serves to `part`; the MD5 of it."""
    digest = hashlib.md5(usedforsecurity=False)
    with urllib.request.urlopen(url, timeout=SILENCE) as response, part.open("wb") as file:
        while chunk := response.read(CHUNK):
            digest.update(chunk)
            file.write(chunk)
    return digest.hexdigest()


def _reason(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
