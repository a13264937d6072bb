"""A private PostgreSQL, from Debian's package: reached by a socket in a folder of its own, and gone afterwards."""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

OWNER = "grid"


def programs() -> Path | None:
    """The folder of initdb and pg_ctl, which Debian keeps out of PATH; None where they are not installed."""
    found = shutil.which("initdb")
    if found:
        return Path(found).resolve().parent
    installed = Path("/usr/lib/postgresql").glob("*/bin/initdb")
    return max((file.parent for file in installed), key=lambda folder: int(folder.parent.name), default=None)


@contextmanager
def database(binaries: Path) -> Iterator[str]:
    """The URI of an empty database, in SQLAlchemy's words. Whoever may enter its folder may log in."""
    folder = Path(tempfile.mkdtemp(prefix="ug-pg-"))  # a socket's path must be short, and its owner get there
    data, log, options = folder / "data", folder / "log", f"-k {folder} -c listen_addresses="

    def run(program: str, *arguments: object) -> None:
        command = [str(binaries / program), *map(str, arguments)]
        # not a pipe: the server keeps it open
        with (folder / "said").open("wb") as said:
            done = subprocess.run(
                command, cwd=folder, stdout=said, stderr=said, timeout=60, **_somebody(folder)
            )
        assert done.returncode == 0, (folder / "said").read_text() + (log.read_text() if log.exists() else "")

    try:
        run("initdb", "-D", data, "-U", OWNER, "--auth=trust", "--no-locale", "--encoding=UTF8")
        run("pg_ctl", "start", "-w", "-D", data, "-l", log, "-o", options)
        try:
            yield f"postgresql+psycopg2://{OWNER}@/postgres?host={folder}"
        finally:
            run("pg_ctl", "stop", "-m", "fast", "-D", data)
    finally:
        shutil.rmtree(folder)


def _somebody(folder: Path) -> dict[str, Any]:
    """Whom PostgreSQL runs as: nobody in place of root, whom it refuses."""
    if os.geteuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    os.chown(folder, nobody.pw_uid, nobody.pw_gid)
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": ()}
