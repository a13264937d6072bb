"""Fills .gpu/ with what a GPU machine without network may lack: python -m tests.gpu_check.bundle [--data DIR].

Needs pip and a network; nothing of the project itself.
"""

import re
import shutil
import subprocess
import sys
import tempfile
from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
NAMES = ("pydantic", "pydantic-core", "annotated-types", "typing-inspection", "typing-extensions", "platformdirs",
         "pyyaml")  # fmt: skip
DATA = ("cifar10", "cifar-10-*")  # as `core.data` finds it below its root


def locked(names: Sequence[str], lock: str) -> str:
    """The lock's entries of these packages, hashes and all; KeyError for a name that is not in it."""
    entries = {m[1]: m[0] for m in re.finditer(r"^([\w.-]+)==.*(?:\n .*)*", lock, re.MULTILINE)}
    return "\n".join(entries[name] for name in names) + "\n"


def install(names: Sequence[str], folder: Path, python: str, platform: str) -> None:
    """Unpacks the packages, as the lock has them, for another Python and platform."""
    with tempfile.TemporaryDirectory() as scratch:
        wanted = Path(scratch, "requirements.txt")
        wanted.write_text(locked(names, (ROOT / "requirements.lock").read_text()))
        where = ["--target", str(folder), "--python-version", python, "--platform", platform]
        how = ["--only-binary=:all:", "--no-deps", "--no-compile", "--require-hashes", "--quiet"]
        quiet = ["--root-user-action=ignore", "--disable-pip-version-check"]
        command = [sys.executable, "-m", "pip", "install", *where, *how, *quiet, "-r", str(wanted)]
        if subprocess.run(command, check=False).returncode:
            raise SystemExit(
                f"error: {sys.executable} -m pip failed, see above; PYTHON= names another Python"
            )


def name_the_code(folder: Path) -> None:
    """Lets the rows of a copy without .git say which commit it is: they ask for the installed version then."""
    try:
        asked = ["git", "describe", "--always", "--abbrev=12", "--exclude=*", "--dirty"]
        commit = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return
    info = folder / "unlearn_grid-0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: unlearn-grid\nVersion: 0+g{commit}\n")


def take_data(root: Path, folder: Path) -> None:
    """Copies CIFAR-10 as it lies below a data root; the unpacked archive or its file, or Parquet."""
    found = [path for pattern in DATA for path in root.glob(pattern)]
    if not found:
        raise SystemExit(f"error: no {' or '.join(DATA)} in {root}")
    for path in found:
        copy = shutil.copytree if path.is_dir() else shutil.copy2
        copy(path, folder / path.name)


def main() -> None:
    """The command."""
    parser = ArgumentParser()
    parser.add_argument("--python", default="3.12", help="of the GPU machine")
    parser.add_argument(
        "--platform", default="manylinux_2_17_x86_64", help="of the GPU machine, as pip names it"
    )
    parser.add_argument("--data", type=Path, help="data root to take CIFAR-10 from")
    parser.add_argument("--to", type=Path, default=ROOT / ".gpu")
    given = parser.parse_args()
    shutil.rmtree(given.to, ignore_errors=True)
    (given.to / "data").mkdir(parents=True) if given.data else given.to.mkdir(parents=True)
    install(NAMES, given.to / "python", given.python, given.platform)
    name_the_code(given.to / "python")
    if given.data:
        take_data(given.data, given.to / "data")
    size = sum(path.stat().st_size for path in given.to.rglob("*") if path.is_file()) / 2**20
    print(f"{given.to}: {size:.0f} MiB; copy it to the GPU machine with the repository")


if __name__ == "__main__":
    main()
