"""Results of a stage on disk: each is written as soon as it is there, and read by the next visit."""

import hashlib
import json
from pathlib import Path
from typing import Any

from core.checkpoint import write_atomically

ROOT = Path(__file__).parents[2]
Identity = dict[str, str]


class Ledger:
    """Results by name, in one JSON file. What another device, torch or code gave is dropped.

    identity: what results must have in common to stand side by side.
    """

    def __init__(self, path: Path, identity: Identity) -> None:
        self.path, self.identity = path, identity
        found = read(path)
        self.entries: dict[str, Any] = found["entries"] if found.get("identity") == identity else {}

    def add(self, name: str, value: Any) -> None:
        """Keeps a result; a kill now or later does not lose it."""
        self.entries[name] = value
        text = json.dumps({"identity": self.identity, "entries": self.entries}, indent=1, ensure_ascii=False)
        write_atomically(self.path, text.encode())


def read(path: Path) -> dict[str, Any]:
    """The file behind a ledger; empty if there is none, or none that can be read."""
    try:
        found: dict[str, Any] = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return found if "identity" in found and "entries" in found else {}


def code_digest(*folders: str) -> str:
    """Of all Python files in these folders of the repository: what decides whether a result is still true."""
    digest = hashlib.sha256()
    for file in sorted(file for folder in folders for file in (ROOT / folder).rglob("*.py")):
        digest.update(file.relative_to(ROOT).as_posix().encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:16]
