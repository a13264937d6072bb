"""A store in a folder: its files are a stranger's data. Links are never followed, nothing but plain files is read.

A link below the store's folder may lead anywhere; reading, moving or removing through one would reach what belongs
to somebody else. So a link counts as a file that is not there, and is itself what is moved or removed.
"""

import errno
import os
import shutil
import stat
import uuid
from pathlib import Path

from core.checkpoint import write_atomically

# no link at the end; a pipe in a file's place must not make us wait for its other end
_READ = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
_NOT_OURS = {errno.ELOOP, errno.EMLINK, errno.ENXIO, errno.ENODEV, errno.EACCES, errno.EPERM}


def read_file(root: str, path: str) -> bytes | None:
    """A plain file's bytes; None for what is not there, may not be read, is no plain file or lies behind a link."""
    if behind_link(root, path):
        return None
    try:
        handle = os.open(path, _READ)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None
    except OSError as error:
        if error.errno in _NOT_OURS:
            return None
        raise
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        return None
    with os.fdopen(handle, "rb") as file:
        return file.read()


def behind_link(root: str, path: str) -> bool:
    """Whether a folder between the store's own and a path in it is a link."""
    folder = os.path.dirname(path)  # noqa: PTH120  (a Path of each of thousands costs more than the look)
    while len(folder) > len(root) and folder.strip("/"):  # the machine's own root has nothing above it
        if os.path.islink(folder):  # noqa: PTH114
            return True
        folder = os.path.dirname(folder)  # noqa: PTH120
    return False


def in_the_way(root: str, path: str) -> Path | None:
    """What keeps a file from being written: a link or file in a folder's place, or a folder in its own."""
    target = Path(path)
    folders = [folder for folder in reversed(target.parents) if len(str(folder)) > len(root)]
    for folder in folders:
        if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
            return folder
    return target if target.is_dir() and not target.is_symlink() else None


def write_file(root: str, path: str, data: bytes) -> None:
    """`write_atomically`, with what is in the way moved aside first; a link in the file's place is replaced."""
    clear_way(root, path)
    write_atomically(Path(path), data)


def clear_way(root: str, path: str) -> None:
    """Moves what is in the way of a file to quarantine/, and what is in the way of quarantine/ beside it."""
    while (obstacle := in_the_way(root, path)) is not None:
        name = f"{obstacle.relative_to(root)}.{uuid.uuid4().hex[:8]}"
        if name.startswith("quarantine"):
            aside = Path(root, name.replace("/", "."))
        else:
            aside = Path(root, "quarantine", name)
            clear_way(root, str(aside))
            aside.parent.mkdir(parents=True, exist_ok=True)
        obstacle.rename(aside)


def move(root: str, source: str, target: str) -> None:
    """Moves a file, a folder or a link, none of them followed; what is in the way is replaced."""
    if behind_link(root, source):
        return
    remove(root, target)
    clear_way(root, target)
    Path(target).parent.mkdir(parents=True, exist_ok=True)
    Path(source).rename(target)


def remove(root: str, path: str) -> None:
    """Removes a file, a folder or a link if it is there; never what lies behind a link."""
    if behind_link(root, path):
        return
    try:
        if Path(path).is_dir() and not Path(path).is_symlink():
            shutil.rmtree(path)  # follows no links
        else:
            Path(path).unlink()
    except (FileNotFoundError, NotADirectoryError):  # another driver removes it too
        if os.path.lexists(path):
            remove(root, path)


def sizes(folder: str) -> dict[str, int]:
    """Bytes of every plain file below a folder, by its name in there; nothing behind links."""
    found: dict[str, int] = {}
    start = len(folder) + 1
    if os.path.islink(folder):  # noqa: PTH114
        return found
    for here, _, names in os.walk(folder):  # follows no links
        for name in names:
            path = f"{here}/{name}"
            try:
                info = os.lstat(path)
            except FileNotFoundError:
                continue
            if stat.S_ISREG(info.st_mode):
                found[path[start:]] = info.st_size
    return found
